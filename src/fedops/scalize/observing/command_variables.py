"""Variables that stand in front of a command, as in ``env PYTHONPATH=src python train.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def variables_of(command: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What ``env`` would set, and the command behind it.

    They are set before the command is started, beside what the hooks need: ``env`` would take the hooks' own
    variable away. A command without ``env``, or with options of ``env``, is given back as it is.
    """
    if not command or PurePath(command[0]).name != "env":
        return {}, list(command)
    found: dict[str, str] = {}
    for place, word in enumerate(command[1:], 1):
        said = _ASSIGNMENT.fullmatch(word)
        if said is None:
            behind = list(command[place:])
            return ({}, list(command)) if word.startswith("-") else (found, behind)
        found[said[1]] = said[2]
    return {}, list(command)
