"""Which calls a device makes: overheard on its link, as HTTP that is not encrypted."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from shaper import Connection, Shaper

_ID = re.compile(r"[0-9a-f]{32,}(-[0-9a-f]{16})?")


@dataclass
class Heard:
    """One request."""

    method: str
    path: str
    at: float
    #: How many bytes of its body passed, and how many it was to have.
    body: int = 0
    length: int = 0
    #: The first byte that is asked for.
    start: int = 0
    #: Of its answer, when it began to come; 0: it did not.
    status: int = 0
    answered_at: float = 0.0

    @property
    def call(self) -> str:
        """What is asked for, without ids: ``GET /work/*/instruction``."""
        return f"{self.method} {_ID.sub('*', self.path)}"

    @property
    def seconds(self) -> float:
        """From the call to its answer."""
        return max(self.answered_at - self.at, 0.0)

    @property
    def is_upload(self) -> bool:
        return "/blobs" in self.path and self.method in ("POST", "PATCH")


@dataclass
class _Line:
    """What is known of one connection."""

    head: bytes = b""
    current: Heard | None = None
    unanswered: list[Heard] = field(default_factory=list)


class Calls:
    """The requests that went over a link, in order."""

    def __init__(self, link: Shaper) -> None:
        self._lock = threading.Lock()
        self._lines: dict[int, _Line] = {}
        self._heard: list[Heard] = []
        link.overhear = self._overhear

    def forget(self) -> None:
        """From now on only what is called from now on."""
        with self._lock:
            self._heard = []

    @property
    def heard(self) -> list[Heard]:
        with self._lock:
            return list(self._heard)

    def counted(self) -> Counter[str]:
        """How often what was called."""
        return Counter(one.call for one in self.heard)

    def _overhear(self, connection: Connection, way: str, piece: bytes) -> None:
        with self._lock:
            line = self._lines.setdefault(id(connection), _Line())
            if way == "up":
                self._up(line, piece)
            elif line.unanswered and (found := re.match(rb"HTTP/1\.1 (\d{3})", piece)):
                one = line.unanswered.pop(0)
                one.status, one.answered_at = int(found[1]), time.monotonic()

    def _up(self, line: _Line, piece: bytes) -> None:
        while piece:
            one = line.current
            if one is not None and one.body < one.length:
                taken = piece[: one.length - one.body]
                one.body += len(taken)
                piece = piece[len(taken) :]
                continue
            head, end, rest = (line.head + piece).partition(b"\r\n\r\n")
            if not end:
                line.head = head
                return
            line.head, piece = b"", rest
            line.current = _request(head)
            line.unanswered.append(line.current)
            self._heard.append(line.current)


def _request(head: bytes) -> Heard:
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
    return Heard(
        method,
        target.removeprefix("/api/v1"),
        time.monotonic(),
        length=_number(head, rb"content-length: *(\d+)"),
        start=_number(head, rb"range: *bytes=(\d+)-"),
    )


def _number(head: bytes, pattern: bytes) -> int:
    found = re.search(rb"(?i)\r\n" + pattern, head)
    return int(found[1]) if found else 0
