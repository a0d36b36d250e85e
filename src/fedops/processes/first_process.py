"""Being the first process of a container: the kernel keeps from it every signal that it does not handle."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def end_on_sigterm(pid: int | None = None) -> None:
    """Let SIGTERM end a first process that is still being loaded, as it ends every other process.

    ``pid``: that of this process. Programs that end in order have handlers of their own later.
    """
    first = (os.getpid() if pid is None else pid) == 1
    if first and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
