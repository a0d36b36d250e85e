"""What a program of ours logs while it runs: one readable line for each thing worth one, on stderr."""

from __future__ import annotations

import logging
import sys

#: Libraries that say more than anybody wants to read.
_TALKATIVE = ("httpx", "httpcore", "uvicorn", "alembic", "websockets", "engineio")
TIMED = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def log_to_stderr(line: str = TIMED) -> None:
    """Called once, by the program itself. ``line``: how logging writes one."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=line, datefmt="%H:%M:%S")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
