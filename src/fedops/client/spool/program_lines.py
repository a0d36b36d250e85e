"""The lines of a device's two programs, on their way to its files and to the server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from fedops.client.spool.child_output import Echo, Output
from fedops.client.spool.log_buffer import LineHandler, LogLines
from fedops.core.contracts import LogSource

#: Whose lines go to the server: neither those of libraries nor (again) the training client's.
_OURS = logging.getLogger("fedops")
_SOURCES = (LogSource.CLIENT_MANAGER, LogSource.TRAINING_CLIENT)


class ProgramLines:
    """``working_for``: the run and round that a line belongs to. ``file``: the training client's log."""

    def __init__(
        self,
        working_for: Callable[[], tuple[int | None, int | None]],
        file: Path,
        echo: Echo | None,
    ) -> None:
        self.logs = {source: LogLines(working_for) for source in _SOURCES}
        self.output = Output(file, echo=echo, lines=self.logs[LogSource.TRAINING_CLIENT])
        self._handler = LineHandler(self.logs[LogSource.CLIENT_MANAGER])

    def start(self) -> None:
        """Take in what this program logs."""
        _OURS.addHandler(self._handler)

    def stop(self) -> None:
        _OURS.removeHandler(self._handler)
        self.output.close()
