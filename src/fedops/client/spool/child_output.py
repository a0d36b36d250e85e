"""What the training client prints: kept in a log file of bounded size, echoed, and its last words."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from fedops.client.spool.log_buffer import LogLines
from fedops.processes.threads import in_thread

LOG_BYTES = 5 << 20
_LAST_LINES = 20
_LINE_BYTES = 8_192

Echo = Callable[[str], None]


class LogFile:
    """Lines appended to a file; when it is full, it becomes ``NAME.1`` and a new one is begun."""

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self._path = path
        self._limit = limit
        self._file: IO[bytes] | None = None

    def write(self, line: str) -> None:
        """Append a line. A disk that takes no more loses the line, nothing else."""
        with contextlib.suppress(OSError):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            if self._file.tell() >= self._limit:
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._path.open("ab", buffering=0)
            self._file.write(line.encode(errors="replace") + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Output:
    """Takes in the output of one process after the other. The process never blocks on it."""

    def __init__(
        self, path: Path, *, echo: Echo | None = None, lines: LogLines | None = None
    ) -> None:
        self.path = path
        self._log = LogFile(path)
        self._echo = echo
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._lines = lines
        self._lock = threading.Lock()

    def follow(self, stream: IO[bytes]) -> threading.Thread:
        """Read a process's output to its end, in a thread of its own. Forgets the last words of before."""
        with self._lock:
            self._last.clear()
        return in_thread(self._drain, stream)

    def _drain(self, stream: IO[bytes]) -> None:
        rest = b""
        with stream, contextlib.suppress(OSError, ValueError):
            while data := stream.read1(65_536):  # type: ignore[attr-defined]
                *lines, rest = re.split(rb"[\r\n]", rest + data)
                for line in lines:
                    self._take(line)
                while len(rest) > _LINE_BYTES:
                    self._take(rest[:_LINE_BYTES])
                    rest = rest[_LINE_BYTES:]
        self._take(rest)

    def _take(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if not line:
            return
        with self._lock:
            self._last.append(line)
            self._log.write(line)
        if self._lines is not None:
            self._lines.add(line)
        if self._echo is not None:
            with contextlib.suppress(Exception):
                self._echo(line)

    def last_lines(self, count: int = 3) -> list[str]:
        """The last lines of the process followed now or last."""
        with self._lock:
            return list(self._last)[-count:]

    def close(self) -> None:
        self._log.close()
