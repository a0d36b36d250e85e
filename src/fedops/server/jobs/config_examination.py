"""An app tried under a config in a child process, which may take so long and no longer."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedops.processes.process_tree import end_tree
from fedops.processes.spawn import let_go, spawn

logger = logging.getLogger("fedops.server")

COMMAND = (sys.executable, "-m", "fedops.flower.config_check")
#: It shares the cores with FL servers that are at work.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def examine(
    app_dir: Path,
    config: Mapping[str, Any],
    seconds: float,
    env: Mapping[str, str],
    tree: str,
    command: Sequence[str] = COMMAND,
    *,
    only_strategy: bool = False,
) -> str | None:
    """What is wrong for everyone; "": nothing; None: that cannot be told here, or not in time.

    ``tree`` names the child with others, so that all of them can be ended together. ``only_strategy``: the
    rest of the config is known to be right.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="fedops-config-") as folder:
            question, answer = Path(folder) / "question.json", Path(folder) / "answer.json"
            asked = {"app_dir": str(app_dir), "config": config, "only_strategy": only_strategy}
            question.write_text(json.dumps(asked), encoding="utf-8")
            _run([*command, str(question), str(answer)], Path(folder), seconds, env, tree)
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
        problem = json.loads(answer.read_text(encoding="utf-8"))["problem"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return problem if isinstance(problem, str) else None
