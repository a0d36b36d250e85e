"""A child process that is asked something about an app: a question in a file, the answer in another."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedops.core.contracts.confinement import Confinement
from fedops.platforms.files import open_others
from fedops.processes.process_tree import end_tree
from fedops.processes.spawn import let_go, spawn

#: A longer answer is none.
_MOST_BYTES = 16 << 20
_TAIL = 2_000
#: It shares the cores with FL servers that are at work.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
#: The environment of a child with this folder.
EnvOf = Callable[[Path], Mapping[str, str]]
#: How a child that imports the app (its folder) is held in a folder of its own.
Hold = Callable[[Path, Path], Confinement | None]


@dataclass(frozen=True)
class Asked:
    """How it went."""

    #: None: no answer, or none that can be read.
    answer: dict[str, Any] | None
    #: The exit code; below 0 the signal that ended it. None: it took too long and was ended.
    code: int | None
    #: The end of what it printed.
    said: str


@dataclass(frozen=True)
class AppChild:
    """How such children are run."""

    env: EnvOf
    #: Names the children with others, so that all of them can be ended together.
    tree: str
    hold: Hold | None = None

    def ask(
        self, command: Sequence[str], app_dir: Path, question: Mapping[str, Any], seconds: float
    ) -> Asked:
        """Ask a child that imports the app in ``app_dir``, for so long.

        Raises:
            OSError: it cannot be started, or has no folder.
        """
        with tempfile.TemporaryDirectory(prefix="fedops-app-") as folder:
            place = Path(folder)
            held = self.hold(app_dir, place) if self.hold else None
            bounds = held.model_dump(mode="json") if held else None
            asked = {**question, "app_dir": str(app_dir), "confinement": bounds}
            file, answer = place / "question.json", place / "answer.json"
            file.write_text(json.dumps(asked), encoding="utf-8")
            code, said = self.run([*command, str(file), str(answer)], place, seconds)
            return Asked(_read(answer), code, said)

    def run(self, command: Sequence[str], folder: Path, seconds: float) -> tuple[int | None, str]:
        """Run a child in a folder; its exit code (None: it took too long), and the end of what it printed."""
        file = folder / "output.txt"
        with file.open("wb") as output:
            child = spawn(
                command,
                env={**_ONE_THREAD, **self.env(folder)},
                tree=self.tree,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        code: int | None = None
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            end_tree(child.pid, 0.0)  # also what it may have started
            let_go(child)
            child.wait()
        return code, _end_of(file)


def _read(answer: Path) -> dict[str, Any] | None:
    try:
        with open_others(answer) as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _end_of(file: Path) -> str:
    try:
        with open_others(file) as opened:
            opened.seek(max(opened.seek(0, 2) - _TAIL, 0))
            return bytes(opened.read(_TAIL)).decode(errors="replace").strip()
    except OSError:
        return ""
