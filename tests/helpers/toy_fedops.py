"""A FedOps of a few lines, that installs in a moment: it needs one package, and has a command of its name."""

from __future__ import annotations

from pathlib import Path

from toy_wheels import toy_wheel

VERSION = "2.0.0.dev0+src.h0123abcd"


def toy_fedops(folder: Path) -> Path:
    """Its wheel in ``folder``, as ``own_wheel`` makes the real one."""
    return toy_wheel(
        folder,
        "fedops",
        VERSION,
        needs=["toybase", 'toytorch; extra == "torch"'],
        extras=["torch"],
        code="import toybase\n\ndef main():\n    print('toy', VERSION, toybase.VERSION)\n",
        scripts="fedops = fedops:main",
    )
