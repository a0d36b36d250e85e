"""How a training loop is ended from inside, and how the process's end is met."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from fedops_watch import shield
from fedops_watch.recorder import Recorder

#: How often a program may swallow the end before the process is ended under it.
_PATIENCE = 3


class EndOfTraining(SystemExit):
    """Ends the process as ``sys.exit(0)`` does: without a traceback, through ``except Exception``."""


class Ending:
    """The end that we bring about: raised once, and again where it was swallowed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._raised = 0
        self.why = ""

    def end(self, why: str) -> None:
        """Write what is there, then raise. ``why``: as ``Seen.ended`` has it."""
        if not self.why:
            self.why = why
            shield.shielded(self._recorder.finish)(why)
        self.go_on()

    def go_on(self) -> None:
        """Raise if the end has begun: called wherever training would continue."""
        if not self.why:
            return
        self._raised += 1
        if self._raised > _PATIENCE:
            for stream in (sys.stdout, sys.stderr):
                shield.shielded(stream.flush)()
            _real_exit(0)
        raise EndOfTraining(0)


_real_exit = os._exit


def watch_end(recorder: Recorder) -> None:
    """Write the answer when the process ends, by itself or by ``os._exit``.

    A child that was forked writes none, such as a loader's worker, unless it came to be the one that trains.
    """

    def finish() -> None:
        if os.getpid() == recorder.pid:
            shield.shielded(recorder.finish)()

    def leave(status: int) -> Any:
        finish()
        _real_exit(status)

    atexit.register(finish)  # the first that is registered is the last to be called
    os._exit = leave
