"""What ``fedops ci`` runs: the check of an app, and then a federation of a few clients with its data."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from pydantic import BaseModel

from fedops.flower.trial.trial_report import TrialQuestion, TrialReport
from fedops.scalize.check.asked_process import ask_process
from fedops.scalize.check.project_check import CheckReport, check_project, find_app

CHECK_PROGRAM = "fedops.flower.trial.check_program"
TRIAL_PROGRAM = "fedops.flower.trial.trial_process"
_LATE = "let it train on less (--examples, --rounds, --set num_epochs=1), or give it more time (--seconds)"


class CiReport(BaseModel):
    """What was tried and what came of it."""

    ok: bool = False
    app: str = ""
    #: The app's folder, as far as one was found.
    folder: str = ""
    check: CheckReport
    #: None: the check failed, so no federation was tried.
    simulation: TrialReport | None = None
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """All that is wrong, in the order in which it was found."""
        return [*self.check.problems, *(self.simulation.problems if self.simulation else [])]


def run_ci(path: Path, question: TrialQuestion, seconds: float) -> CiReport:
    """Check the app in ``path`` and, if that went well, play its rounds with a few clients.

    Never raises for what is wrong with the app. ``question.app_dir`` is filled in here. ``seconds`` is how
    long both may take together.
    """
    begun = time.monotonic()
    report = CiReport(check=check_project(path, seconds=seconds, program=CHECK_PROGRAM))
    report.app = report.check.app
    if report.check.ok:
        folder = find_app(path)
        report.folder = str(folder)
        left = max(seconds - (time.monotonic() - begun), 1.0)
        asked = question.model_copy(update={"app_dir": str(folder), "seconds": left})
        report.simulation = _simulated(asked, left, seconds)
    report.ok = bool(report.simulation and report.simulation.ok)
    report.seconds = round(time.monotonic() - begun, 2)
    return report


def _simulated(question: TrialQuestion, left: float, of: float) -> TrialReport:
    with tempfile.TemporaryDirectory(prefix="fedops-ci-") as folder:
        file = Path(folder) / "question.json"
        file.write_text(question.model_dump_json(), encoding="utf-8")
        late = f"it had what the check left of {of:.0f} s: {_LATE}"
        found, why = ask_process(
            TRIAL_PROGRAM, [str(file)], left, TrialReport, "simulation", when_late=late
        )
    return found or TrialReport(problems=[why])
