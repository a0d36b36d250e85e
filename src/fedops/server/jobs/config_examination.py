"""An app tried under a config in a child process, which may take so long and no longer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedops.server.jobs.app_child import AppChild, EnvOf, Hold

logger = logging.getLogger("fedops.server")

COMMAND = (sys.executable, "-m", "fedops.flower.checks.config_check")


def examine(
    app_dir: Path,
    config: Mapping[str, Any],
    seconds: float,
    env: EnvOf,
    tree: str,
    command: Sequence[str] = COMMAND,
    *,
    hold: Hold | None = None,
    only_strategy: bool = False,
) -> str | None:
    """What is wrong for everyone; "": nothing; None: that cannot be told here, or not in time.

    ``env``: the environment of a child with this folder. ``tree`` names the child with others, so that all
    of them can be ended together. ``hold``: how the child, which imports the app, is held in its folder.
    ``only_strategy``: the rest of the config is known to be right.
    """
    question = {"config": config, "only_strategy": only_strategy}
    try:
        asked = AppChild(env, tree, hold).ask(command, app_dir, question, seconds)
    except OSError as error:
        logger.warning("an app cannot be tried before its run: %s", error)
        return None
    if asked.code is None:
        logger.warning("an app could not be tried before its run within %.0f s", seconds)
    problem = asked.answer.get("problem") if asked.answer else None
    return problem if isinstance(problem, str) else None
