"""An app tried under a config in a child process, which may take so long and no longer."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedops.core.contracts.confinement import Confinement
from fedops.platforms.files import open_others
from fedops.processes.process_tree import end_tree
from fedops.processes.spawn import let_go, spawn

logger = logging.getLogger("fedops.server")

COMMAND = (sys.executable, "-m", "fedops.flower.config_check")
#: A longer answer is none.
_MOST_BYTES = 1 << 20
#: It shares the cores with FL servers that are at work.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def examine(
    app_dir: Path,
    config: Mapping[str, Any],
    seconds: float,
    env: Callable[[Path], Mapping[str, str]],
    tree: str,
    command: Sequence[str] = COMMAND,
    *,
    hold: Callable[[Path, Path], Confinement | None] | None = None,
    only_strategy: bool = False,
) -> str | None:
    """What is wrong for everyone; "": nothing; None: that cannot be told here, or not in time.

    ``env``: the environment of a child with this folder. ``tree`` names the child with others, so that all
    of them can be ended together. ``hold``: how the child, which imports the app, is held in its folder.
    ``only_strategy``: the rest of the config is known to be right.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="fedops-config-") as folder:
            place = Path(folder)
            question, answer = place / "question.json", place / "answer.json"
            held = hold(app_dir, place) if hold else None
            bounds = held.model_dump(mode="json") if held else None
            asked = {
                "app_dir": str(app_dir),
                "config": config,
                "only_strategy": only_strategy,
                "confinement": bounds,
            }
            question.write_text(json.dumps(asked), encoding="utf-8")
            _run([*command, str(question), str(answer)], place, seconds, env(place), tree)
            return _read(answer)
    except OSError as error:
        logger.warning("an app cannot be tried before its run: %s", error)
        return None


def _run(
    command: list[str], folder: Path, seconds: float, env: Mapping[str, str], tree: str
) -> None:
    with (folder / "output.txt").open("wb") as output:
        child = spawn(
            command,
            env={**_ONE_THREAD, **env},
            tree=tree,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        logger.warning("an app could not be tried before its run within %.0f s", seconds)
    finally:
        end_tree(child.pid, 0.0)  # also what it may have started
        let_go(child)
        child.wait()


def _read(answer: Path) -> str | None:
    try:
        with open_others(answer) as file:
            problem = json.loads(file.read(_MOST_BYTES))["problem"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return problem if isinstance(problem, str) else None
