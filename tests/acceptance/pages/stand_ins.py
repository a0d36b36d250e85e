"""What a page would install or download, replaced: this test's environment, and a small MNIST."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(sys.executable).parent
#: What a clone has and a page touches. The rest stays out: nothing is to depend on it.
CLONE = ("apps", "examples", "deploy", "constraints.txt", "pyproject.toml", "Makefile")

# 'python3 -m venv DIR' makes a folder in which the programs of this environment are.
_PYTHON = """#!/bin/bash
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && ln -sf "{stand_ins}"/pip "{programs}"/* "$3/bin/" && ln -sf "{stand_ins}"/pip "$3/bin/pip" &&
    echo "export VIRTUAL_ENV='$PWD/$3' PATH='$PWD/$3/bin':\\$PATH" > "$3/bin/activate.new" &&
    rm -f "$3/bin/activate" && mv "$3/bin/activate.new" "$3/bin/activate"
else
  exec "{python}" "$@"
fi
"""
# Installing succeeds if every extra that is named exists.
_PIP = """#!{python}
import re, sys, tomllib
extras = tomllib.load(open({pyproject!r}, "rb"))["project"]["optional-dependencies"]
named = [e for word in sys.argv[1:] for e in re.findall(r"(?:^\\.|fedops)\\[(.*)\\]", word)]
missing = [e for group in named for e in group.split(",") if e not in extras]
sys.exit(f"no such extra: {{missing}}" if missing else 0)
"""
# 'make TARGET' succeeds if there is such a target.
_MAKE = """#!/bin/bash
exec {make} --dry-run --directory "{root}" "$@" > /dev/null
"""


def make_clone(folder: Path) -> Path:
    """A clone of FedOps as far as the pages use one."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "outputs")
    for name in CLONE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder


def make_stand_ins(folder: Path) -> Path:
    """Programs that come before the real ones on the PATH."""
    folder.mkdir()
    names = {
        "stand_ins": folder,
        "programs": PROGRAMS,
        "python": sys.executable,
        "root": ROOT,
        "make": shutil.which("make") or "make",
        "pyproject": str(ROOT / "pyproject.toml"),
    }
    for name, text in (("python3", _PYTHON), ("pip", _PIP), ("make", _MAKE)):
        (folder / name).write_text(text.format(**names))
        (folder / name).chmod(0o755)
    return folder


def make_mnist(folder: Path) -> Path:
    """scikit-learn's digits as the four files of MNIST: small, and there without a network."""
    from sklearn.datasets import load_digits

    folder.mkdir()
    digits = load_digits()
    images = np.kron(digits.images, np.ones((3, 3))).clip(0, 16) * 15
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    test = np.arange(len(images)) % 5 == 0
    for prefix, rows in (("train", ~test), ("t10k", test)):
        _write_idx(folder / f"{prefix}-images-idx3-ubyte", images[rows])
        _write_idx(folder / f"{prefix}-labels-idx1-ubyte", digits.target[rows].astype(np.uint8))
    return folder


def _write_idx(file: Path, array: np.ndarray) -> None:
    header = struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape)
    file.write_bytes(header + array.tobytes())


def plain_env() -> dict[str, str]:
    """This environment without what sets up FedOps, Flower or a venv."""
    unwanted = ("FEDOPS_", "FLWR_", "VIRTUAL_ENV", "PYTEST_", "WANDB_")
    return {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
