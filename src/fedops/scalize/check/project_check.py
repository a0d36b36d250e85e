"""``fedops check``: whether a project can be trained federatedly, and what is wrong if not.

The project is imported in a process of its own with a cleaned environment, so that what it does when
imported, prints or breaks stays there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fedops.config.loading import read_toml
from fedops.core.errors import FedOpsError
from fedops.scalize.check.asked_process import Asked, put_to_process
from fedops.scalize.check.proof_steps import ProofStep
from fedops.scalize.discovery.app_folder import FOLDER
from fedops.scalize.discovery.differences import Difference, last_line
from fedops.scalize.flow.plain_flower import is_plain_flower
from fedops.scalize.flow.project import Project

#: How long a check may take, unless it is told: of an app made from functions, and of one with a command.
_SECONDS, _SCRIPT_SECONDS = 600.0, 1800.0
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
    #: The last line: all of this in a sentence.
    verdict: str = ""


def check_project(
    path: Path,
    *,
    seconds: float | None = None,
    program: str = PROGRAM,
    on_progress: Callable[[str], None] = lambda line: None,
) -> CheckReport:
    """Check the app in ``path`` or in its folder ``federated``; never raises for what is wrong with it.

    ``program`` is the module that is run for it, with what ``check_run`` gets. ``seconds``: how long it may
    take; None: as long as is usual for an app of its kind. ``on_progress`` is told how far it is, a line each
    time; one that ends with dots stands for what goes on.
    """
    try:
        app_dir = find_app(path)
        heard = _Heard(on_progress)
        asked = _asked(app_dir, seconds, heard)
        report, why = put_to_process(program, [str(app_dir)], CheckReport, asked)
        report = report or CheckReport(app=str(app_dir), problems=[heard.with_place(why)])
    except FedOpsError as error:
        report = CheckReport(app=str(path), problems=[error.message])
    return report.model_copy(update={"verdict": _verdict(report)})


class _Heard:
    """Remembers how far it was, for when it does not end."""

    def __init__(self, further: Callable[[str], None]) -> None:
        self._further, self._last = further, ""

    def __call__(self, line: str) -> None:
        self._last = line
        self._further(line)

    def with_place(self, why: str) -> str:
        return f"{why}\n  it was at: {self._last}" if self._last else why


def _asked(app_dir: Path, seconds: float | None, heard: _Heard) -> Asked:
    if _has_command(app_dir):
        late = (
            "the proof runs the command about four times: let a round be shorter (passes or steps under "
            "[script]), or give it more time (--seconds)"
        )
        return Asked(seconds or _SCRIPT_SECONDS, "check", late, app_dir, heard)
    return Asked(seconds or _SECONDS, cwd=app_dir, on_progress=heard)


def _has_command(app_dir: Path) -> bool:
    try:
        return Project.open(app_dir).config.script is not None
    except FedOpsError:
        return False  # the check itself says what is wrong


def _verdict(report: CheckReport) -> str:
    if not report.ok:
        return "this app cannot be federated yet"
    open_steps = [step for step in report.proof if not step.ok]
    if open_steps and not report.differences:
        return f"well, but not proven: {open_steps[0].what}"
    return last_line(report.differences)


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
