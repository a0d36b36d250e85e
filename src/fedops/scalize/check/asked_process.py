"""A question about a project, answered by a process that may import it: cleaned, limited, and ended with all
that it has started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import let_go, spawn

#: Variables that the project's process gets, besides those that begin with one of ``_PREFIXES``.
_KEPT = ("HOME", "KERAS_BACKEND", "LANG", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TEMP", "TMPDIR")
_PREFIXES = ("CUDA_", "HF_", "LC_", "MKL_", "OMP_", "OPENBLAS_", "TORCH_", "TRANSFORMERS_")
_TAIL = 15
IMPORTED = (
    "does importing the project start its training? What it does as a script belongs under "
    'if __name__ == "__main__":'
)
M = TypeVar("M", bound=BaseModel)


def ask_process(
    program: str,
    words: Sequence[str],
    seconds: float,
    kind: type[M],
    what: str = "check",
    when_late: str = IMPORTED,
) -> tuple[M | None, str]:
    """Run the module ``program`` with ``words`` and the name of a file for its answer.

    The answer, or None and why there is none. ``what`` it is that it does, and what may be wrong when it
    takes too long, are for that sentence.
    """
    with tempfile.TemporaryDirectory(prefix=f"fedops-{what}-") as folder:
        answer, output = Path(folder) / "report.json", Path(folder) / "output.txt"
        ended = _run([program, *words, str(answer)], output, seconds, what)
        try:
            return kind.model_validate_json(answer.read_bytes()), ""
        except (OSError, ValueError):
            tail = output.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
            late = f"the {what} did not end within {seconds:.0f} s; {when_late}"
            return None, _ended_badly(late if ended is None else "", ended, tail)


def _run(words: list[str], output: Path, seconds: float, what: str) -> int | None:
    """Run the examination. Its exit code, or None when it took too long and was ended."""
    tree = f"{what}-{uuid.uuid4().hex}"
    with output.open("wb") as file:
        child = spawn(
            [sys.executable, "-I", "-B", "-m", *words],
            env=clean_environment(),
            tree=tree,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end_named_tree(tree, grace=0.0)  # also what it may have started
        let_go(child)
        child.wait()


def clean_environment() -> dict[str, str]:
    """What the project may depend on: no secrets, no import path of this shell."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_PREFIXES)
    }


def _ended_badly(late: str, ended: int | None, tail: list[str]) -> str:
    why = late or f"the process that imported the project ended with code {ended} and no answer"
    return "\n  ".join([why, *(["its last words:", *tail] if tail else [])])
