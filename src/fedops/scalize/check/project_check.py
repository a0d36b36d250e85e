"""``fedops check``: whether a project can be trained federatedly, and what is wrong if not.

The project is imported in a process of its own with a cleaned environment, so that what it does when
imported, prints or breaks stays there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from fedops.config.loading import read_toml
from fedops.core.errors import FedOpsError
from fedops.scalize.check.asked_process import Asked, put_to_process
from fedops.scalize.check.proof_steps import ProofStep
from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.scaffold import FOLDER

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
    #: What of the project's own training a run will not do, or will do otherwise.
    differences: list[Difference] = []
    #: For an app with a command of its own: what was shown, in its order.
    proof: list[ProofStep] = []


def check_project(
    path: Path,
    *,
    seconds: float = 600.0,
    program: str = PROGRAM,
    on_progress: Callable[[str], None] = lambda line: None,
) -> CheckReport:
    """Check the app in ``path`` or in its folder ``federated``; never raises for what is wrong with it.

    ``program`` is the module that is run for it, with what ``check_run`` gets. ``on_progress`` is told, in
    a line each, how far it is.
    """
    try:
        app_dir = find_app(path)
        asked = Asked(seconds, cwd=app_dir, on_progress=on_progress)
        report, why = put_to_process(program, [str(app_dir)], CheckReport, asked)
        return report or CheckReport(app=str(app_dir), problems=[why])
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
