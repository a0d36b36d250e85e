"""``fedops check``: whether a project can be trained federatedly, and what is wrong if not.

The project is imported in a process of its own with a cleaned environment, so that what it does when
imported, prints or breaks stays there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fedops.config.loading import read_toml
from fedops.core.errors import FedOpsError
from fedops.scalize.check.asked_process import ask_process
from fedops.scalize.discovery.scaffold import FOLDER
from fedops.scalize.flow.plain_flower import is_plain_flower

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
        report, why = ask_process(program, [str(app_dir)], seconds, CheckReport)
        return report or CheckReport(app=str(app_dir), problems=[why])
    except FedOpsError as error:
        return CheckReport(app=str(path), problems=[error.message])


def find_app(path: Path) -> Path:
    """The app's folder: ``path`` itself, or ``path/federated``.

    Raises:
        FedOpsError: neither has a ``pyproject.toml`` with a ``[tool.fedops]`` table, or with the
            components of an app of plain Flower.
    """
    folder = path.expanduser().resolve()
    for candidate in (folder, folder / FOLDER):
        file = candidate / "pyproject.toml"
        if file.is_file() and _is_app(read_toml(file)):
            return candidate
    if not folder.is_dir():
        raise FedOpsError(f"there is no folder {folder}")
    raise FedOpsError(
        f"neither {folder} nor {folder / FOLDER} has a pyproject.toml with a [tool.fedops] table; "
        f"make one with: fedops init {path}"
    )


def _is_app(pyproject: dict[str, Any]) -> bool:
    return "fedops" in pyproject.get("tool", {}) or is_plain_flower(pyproject)
