"""What the FL server logs and prints, sent to the Server Manager in batches by a thread of its own."""

from __future__ import annotations

import logging
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, TextIO

from fedops.core.contracts import EngineLog, EngineLogs
from fedops.core.errors import FedOpsError, Unavailable
from fedops.core.redaction import redact
from fedops.processes.threads import in_thread

#: Between two deliveries. Seconds.
INTERVAL = 1.0
#: How many lines wait at most while the server is away; the oldest go, and are counted.
WAITING = 5_000
_BATCH_LINES, _LINE_CHARACTERS = 199, 4_000  # and one that says what is left out
#: What these say would be about the sending itself, or is of no use to anybody.
_NOT = ("httpx", "httpcore", "urllib3", "hpack", "asyncio", "flwr", __name__)


@dataclass(frozen=True)
class _Line:
    id: str
    at: float
    round: int | None
    text: str


class LogShipping(logging.Handler):
    """Takes what is logged in this process; ``close`` delivers what is left.

    The rounds never wait for it: a line is put into memory and nothing else.
    """

    def __init__(
        self,
        send: Callable[[EngineLogs], None],
        round_: Callable[[], int | None],
        interval: float = INTERVAL,
    ) -> None:
        """``send`` delivers lines, and may be repeated; ``round_`` says which round is going on."""
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self._send = send
        self._round = round_
        self._interval = interval
        self._lines: deque[_Line] = deque()
        self._left_out = 0
        self._unsent: EngineLogs | None = None
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = in_thread(self._run, name="log-shipping")

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] in _NOT or record.name in _NOT:
            return
        try:
            text = self.format(record)
        except Exception:  # a line that cannot be formatted must not break who logs it
            self.handleError(record)
            return
        self._take(text)

    def _take(self, text: str) -> None:
        line = redact(text)[:_LINE_CHARACTERS]
        with self._guard:
            self._lines.append(_Line(uuid.uuid4().hex, time.time(), self._round(), line))
            if len(self._lines) > WAITING:
                self._lines.popleft()
                self._left_out += 1

    @contextmanager
    def printed(self) -> Iterator[None]:
        """Take what is printed too, as code of the app's own does; it is still printed."""
        out, err = (_Overheard(stream, self._take) for stream in (sys.stdout, sys.stderr))
        with redirect_stdout(out), redirect_stderr(err):
            yield

    def close(self) -> None:
        """Deliver what is left, if the server takes it at once."""
        self._ended.set()
        self._thread.join(5.0)
        super().close()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self._deliver()
        self._deliver()

    def _deliver(self) -> None:
        while (batch := self._unsent or self._next()) is not None:
            try:
                self._send(batch)
            except Unavailable:
                self._unsent = batch  # the same ids again: the server keeps each once
                return
            except FedOpsError:
                pass  # it will never take this; saying so would be a line to send again
            self._unsent = None

    def _next(self) -> EngineLogs | None:
        with self._guard:
            count = min(len(self._lines), _BATCH_LINES)
            lines = [self._lines.popleft() for _ in range(count)]
            left_out, self._left_out = self._left_out, 0
        if not lines:
            return None
        now, entries = time.time(), list[EngineLog]()
        if left_out:
            text = f"({left_out} lines before this one are left out)"
            entries.append(_entry(_Line(uuid.uuid4().hex, lines[0].at, None, text), now))
        entries += [_entry(line, now) for line in lines]
        return EngineLogs(entries=entries)


class _Overheard:
    """A text stream whose lines are passed on to somebody else too."""

    def __init__(self, stream: TextIO, take: Callable[[str], None]) -> None:
        self._stream = stream
        self._take = take
        self._begun = ""
        self._guard = threading.Lock()

    def write(self, text: str) -> int:
        with self._guard:
            *lines, self._begun = (self._begun + text).split("\n")
            self._begun = self._begun[-_LINE_CHARACTERS:]
        for line in lines:
            said = line.rstrip("\r").rpartition("\r")[2]  # of a progress bar, what it says at last
            if said.strip():
                self._take(said)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _entry(line: _Line, now: float) -> EngineLog:
    age = max(now - line.at, 0.0)
    return EngineLog(id=line.id, age_seconds=age, round=line.round, text=line.text)
