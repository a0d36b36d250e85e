"""The app of a commit packed and tried in child processes, held as code of apps is held on this server."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedops.core.errors import Invalid, Unavailable
from fedops.core.printable import printable
from fedops.server.delivery.commits.checking import Checked
from fedops.server.jobs.app_child import AppChild, Asked
from fedops.server.jobs.app_code import AppCode
from fedops.server.jobs.app_folders import AppFolders
from fedops.server.jobs.engine_process import tree_of
from fedops.settings import ServerSettings

PACK = (sys.executable, "-m", "fedops.flower.app_package")
CHECK = (sys.executable, "-m", "fedops.flower.checks.commit_check")
#: How long packing may take. It imports nothing of the app. Seconds.
PACK_SECONDS = 120.0
_LINES, _LONGEST = 5, 1_500


class ChildChecks:
    """``AppChecks`` in child processes of this server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._seconds = settings.commit_check_seconds
        code = AppCode(settings)
        tree = tree_of(settings.engine_folder / "engine")
        self._held = AppChild(code.env, tree, code.of_check)
        self._own = AppChild(code.env, tree)

    def pack(self, app_dir: Path, bundle: Path) -> list[str]:
        """See ``AppChecks``."""
        with _folder() as folder:
            place = Path(folder)
            answer, made = place / "answer.json", place / "bundle.fab"
            command = [*PACK, str(app_dir), str(made), str(answer)]
            code, said = self._own.run(command, place, PACK_SECONDS)
            if code is None:
                raise Invalid(
                    f"it could not be bundled within {PACK_SECONDS:.0f} s: is it too large?"
                )
            if code or not answer.is_file():
                raise Unavailable(f"the app cannot be bundled on the server: {_last(said)}")
            told = json.loads(answer.read_text(encoding="utf-8"))
            if told["problem"]:
                raise Invalid(told["problem"])
            bundle.write_bytes(made.read_bytes())
            return [str(one) for one in told["requirements"]]

    def check(self, bundle: Path, config: Mapping[str, Any]) -> Checked:
        """See ``AppChecks``."""
        with _folder() as folder:
            app_dir = AppFolders(Path(folder)).unpack(bundle, "app")
            try:
                asked = self._held.ask(CHECK, app_dir, {"config": config}, self._seconds)
            except OSError as error:
                raise Unavailable(f"the app cannot be tried on the server: {error}") from None
            return checked_by(asked, self._seconds)


def checked_by(asked: Asked, seconds: float) -> Checked:
    """What a check found out, whether it ended well or not."""
    report = asked.answer or {}
    problems, notes = _texts(report.get("problems")), _texts(report.get("notes"))
    if asked.answer is None:
        problem = _unanswered(asked, seconds)
        return Checked(problem) if problem else Checked(notes=[_killed(asked.code)])
    if asked.code is None:
        notes.append(f"the tiny round did not end within {seconds:.0f} s; the canary tells")
    elif asked.code:
        notes.append(f"the tiny round ended its process (code {asked.code}); the canary tells")
    return Checked("; ".join(problems), str(report.get("fingerprint", ""))[:64], notes)


def _unanswered(asked: Asked, seconds: float) -> str:
    if asked.code is None:
        return (
            f"the check did not end within {seconds:.0f} s; does importing the project start its training? "
            'What it does as a script belongs under if __name__ == "__main__":'
        )
    if asked.code < 0:
        return ""  # by the kernel, for want of memory, or by a library that this machine cannot run
    return (
        f"the process that imported the project ended with code {asked.code}: {_last(asked.said)}"
    )


def _killed(code: int | None) -> str:
    return f"not judged here: the check was killed by signal {-(code or 0)}; the canary tells"


def _texts(value: Any) -> list[str]:
    """What an app's process says of itself, within bounds."""
    if not isinstance(value, list):
        return []
    return [printable(one)[:_LONGEST] for one in value[:100] if isinstance(one, str)]


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return printable(" / ".join(lines[-_LINES:]))[:_LONGEST] or "it said nothing"


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fedops-commit-")
