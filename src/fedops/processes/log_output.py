"""What a program of ours logs while it runs: one readable line for each thing worth one, on stderr."""

from __future__ import annotations

import logging
import sys
from typing import Literal

#: Libraries that say more than anybody wants to read.
_TALKATIVE = ("httpx", "httpcore", "uvicorn", "alembic", "websockets", "engineio")
TIMED = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
LogFormat = Literal["text", "json"]


def log_to_stderr(line: str = TIMED, form: LogFormat = "text") -> None:
    """Called once, by the program itself. ``line``: how logging writes one, as text."""
    if form == "json":
        # Only here: it takes a while to import, and few want it.
        from fedops.processes.log_as_json import as_json, hear_threads

        logging.basicConfig(level=logging.INFO, handlers=[as_json()])
        hear_threads()
    else:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=line, datefmt="%H:%M:%S")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
