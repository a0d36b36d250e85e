"""``fedops check``: whether a project can be trained federatedly, and what is wrong if not.

The project is imported in a process of its own with a cleaned environment, so that what it does when
imported, prints or breaks stays there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fedops.config.loading import read_toml
from fedops.core.errors import FedOpsError
from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import let_go, spawn
from fedops.scalize.discovery.scaffold import FOLDER

#: Variables that the project's process gets, besides those that begin with one of ``_PREFIXES``.
_KEPT = ("HOME", "KERAS_BACKEND", "LANG", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TEMP", "TMPDIR")
_PREFIXES = ("CUDA_", "HF_", "LC_", "MKL_", "OMP_", "OPENBLAS_", "TORCH_", "TRANSFORMERS_")
_TAIL = 15
PROGRAM = "fedops.scalize.check.check_process"


class CheckedParameter(BaseModel):
    """One tensor of the model."""

    name: str
    shape: list[int]
    dtype: str
    federated: bool


class CheckReport(BaseModel):
    """What ``fedops check`` found."""

    ok: bool = False
    app: str = ""
    steps: list[str] = []
    parameters: list[CheckedParameter] = []
    fingerprint: str = ""
    examples: int = 0
    #: What a device sends and receives in a round.
    bytes_per_round: int = 0
    #: What a round takes on this machine, estimated from one on a part of the data.
    seconds: float = 0.0
    metrics: dict[str, float] = {}
    #: Whether a training that is interrupted goes on from its last epoch, or begins its round's work again.
    resumes: bool | None = None
    problems: list[str] = []
    #: What is not wrong, but good to know.
    notes: list[str] = []


def check_project(path: Path, *, seconds: float = 600.0, program: str = PROGRAM) -> CheckReport:
    """Check the app in ``path`` or in its folder ``federated``; never raises for what is wrong with it.

    ``program`` is the module that is run for it, with what ``check_run`` gets.
    """
    try:
        app_dir = find_app(path)
        return CheckReport.model_validate(_examine(app_dir, seconds, program))
    except FedOpsError as error:
        return CheckReport(app=str(path), problems=[error.message])


def find_app(path: Path) -> Path:
    """The app's folder: ``path`` itself, or ``path/federated``.

    Raises:
        FedOpsError: neither has a ``pyproject.toml`` with a ``[tool.fedops]`` table.
    """
    folder = path.expanduser().resolve()
    for candidate in (folder, folder / FOLDER):
        file = candidate / "pyproject.toml"
        if file.is_file() and "fedops" in read_toml(file).get("tool", {}):
            return candidate
    if not folder.is_dir():
        raise FedOpsError(f"there is no folder {folder}")
    raise FedOpsError(
        f"neither {folder} nor {folder / FOLDER} has a pyproject.toml with a [tool.fedops] table; "
        f"make one with: fedops init {path}"
    )


def _examine(app_dir: Path, seconds: float, program: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fedops-check-") as folder:
        answer, output = Path(folder) / "report.json", Path(folder) / "output.txt"
        ended = _run([program, str(app_dir), str(answer)], output, seconds)
        try:
            report = json.loads(answer.read_text(encoding="utf-8"))
            CheckReport.model_validate(report)
        except (OSError, ValueError, ValidationError):
            tail = output.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
            report = {"app": str(app_dir), "problems": [_ended_badly(ended, seconds, tail)]}
    found: dict[str, Any] = report
    return found


def _run(words: list[str], output: Path, seconds: float) -> int | None:
    """Run the examination. Its exit code, or None when it took too long and was ended."""
    tree = f"check-{uuid.uuid4().hex}"
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


def _ended_badly(ended: int | None, seconds: float, tail: list[str]) -> str:
    if ended is None:
        what = (
            f"the check did not end within {seconds:.0f} s; does importing the project start its training? "
            'What it does as a script belongs under if __name__ == "__main__":'
        )
    else:
        what = f"the process that imported the project ended with code {ended} and no answer"
    return "\n  ".join([what, *(["its last words:", *tail] if tail else [])])
