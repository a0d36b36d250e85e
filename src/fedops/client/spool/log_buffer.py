"""Log lines on their way into the spool: put together by what they belong to, bounded, without secrets."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fedops.core.redaction import redact

#: Between two looks of who takes lines for the server, no more than this many are kept.
WAITING_LINES = 2_000
#: A record holds about this much text.
CHUNK_CHARACTERS = 8_000
_LINE_CHARACTERS = 4_000
#: What these threads and loggers say is about the sending of logs itself, and must not feed it.
_SENDING_THREADS = ("spool",)
_SENDING_LOGGERS = ("fedops.client.spool",)

#: The run and round that is worked for now.
Context = Callable[[], tuple[int | None, int | None]]


@dataclass(frozen=True)
class Chunk:
    """Some lines of one run and round. ``at``: POSIX time of the first."""

    at: float
    run_id: int | None
    round: int | None
    text: str


class LogLines:
    """Takes in lines from any thread, at once; gives them out in chunks. Too many: the oldest go."""

    def __init__(
        self, context: Context = lambda: (None, None), *, limit: int = WAITING_LINES
    ) -> None:
        self._context = context
        self._limit = limit
        self._waiting: deque[tuple[float, int | None, int | None, str]] = deque()
        self._left_out = 0
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """One line (or a traceback of several)."""
        run_id, round_ = self._context()
        with self._lock:
            self._waiting.append((time.time(), run_id, round_, line[:_LINE_CHARACTERS]))
            if len(self._waiting) > self._limit:
                self._waiting.popleft()
                self._left_out += 1

    def take(self) -> list[Chunk]:
        """All lines since the last call."""
        with self._lock:
            lines, left_out = list(self._waiting), self._left_out
            self._waiting.clear()
            self._left_out = 0
        if left_out:
            at, run_id, round_, _ = lines[0]
            lines.insert(
                0, (at, run_id, round_, f"({left_out} lines before this one are left out)")
            )
        return _in_chunks(lines)


def _in_chunks(lines: list[tuple[float, int | None, int | None, str]]) -> list[Chunk]:
    chunks: list[Chunk] = []
    size = 0
    for at, run_id, round_, line in lines:
        text = redact(line)
        last = chunks[-1] if chunks else None
        same = last is not None and (last.run_id, last.round) == (run_id, round_)
        if last is not None and same and size + len(text) <= CHUNK_CHARACTERS:
            chunks[-1] = Chunk(last.at, run_id, round_, f"{last.text}\n{text}")
            size += len(text) + 1
        else:
            chunks.append(Chunk(at, run_id, round_, text))
            size = len(text)
    return chunks


class LineHandler(logging.Handler):
    """Takes what our own loggers say into ``LogLines``. Never raises, never waits."""

    def __init__(self, lines: LogLines) -> None:
        super().__init__(logging.INFO)
        self._lines = lines
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name in _SENDING_LOGGERS or record.threadName in _SENDING_THREADS:
            return
        try:
            self._lines.add(self.format(record))
        except Exception:  # a line that cannot be formatted must not break who logs it
            self.handleError(record)
