"""Open pages without browsers: each a WebSocket that reads what it is sent, as a page does."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets
from many_sizes import BIG_RUN

from fedops.server.dashboard.web.assets import build
from fedops.server.database.database import Database
from fedops.server.events import event_log
from fedops.server.events.news import newest_event

COOKIE = "fedops_session"
#: How often events are written; so many are one transaction. Seconds.
_BEAT = 0.1
_HELLO = {"seq": 2**62, "panels": {}, "unpacks": True}


@dataclass
class Heard:
    """What all pages heard."""

    messages: int = 0
    bytes: int = 0
    #: From an event to the message that tells of it, in seconds.
    waits: list[float] = field(default_factory=list)
    lost: int = 0
    open: int = 0


class Events(threading.Thread):
    """Writes events of the large run, so many a second, from another process than the server's."""

    def __init__(self, db: Database, rate: float) -> None:
        super().__init__(daemon=True)
        self._db, self._each = db, max(round(rate * _BEAT), 1)
        self.at: dict[int, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        begun, beats = time.monotonic(), 0
        while not self.over.wait(max(begun + beats * _BEAT - time.monotonic(), 0)):
            self._write()
            beats += 1

    def _write(self) -> None:
        with self._db.write(durable=False) as session:
            for number in range(self._each):
                name = ("device.noted", "round.noted")[number % 2]
                subject = f"run {BIG_RUN}"
                event_log.append_event(session, time.time(), "engine", subject, name, "", BIG_RUN)
            session.flush()
            last = newest_event(session)  # nobody else writes
        ids = range(last - self._each + 1, last + 1)
        self.at |= dict.fromkeys(ids, time.perf_counter())


def session_of(url: str, token: str) -> str:
    """The cookie of a browser that has signed in."""
    with httpx.Client(base_url=url, timeout=30) as browser:
        browser.post("/sign-in", data={"secret": token})
        return browser.cookies[COOKIE]


async def look(
    url: str, cookie: str, at: Sequence[str], events: Events, heard: Heard, over: asyncio.Event
) -> None:
    """Open a page at each of these paths, and read until it is over."""
    pages = [asyncio.create_task(_page(url, cookie, one, events, heard, over)) for one in at]
    await over.wait()
    for page in pages:
        page.cancel()
    await asyncio.gather(*pages, return_exceptions=True)


async def _page(
    url: str, cookie: str, at: str, events: Events, heard: Heard, over: asyncio.Event
) -> None:
    address = f"{url.replace('http', 'ws')}/live?at={at}"
    sent = {"cookie": f"{COOKIE}={cookie}"}
    origin: Any = url
    while not over.is_set():
        try:
            async with websockets.connect(
                address, additional_headers=sent, origin=origin, max_size=None
            ) as page:
                await page.send(json.dumps(_HELLO | {"build": build()}))
                heard.open += 1
                try:
                    await _read(page, events, heard)
                finally:
                    heard.open -= 1
        except (OSError, websockets.WebSocketException):
            heard.lost += 1
            await asyncio.sleep(1)


async def _read(page: Any, events: Events, heard: Heard) -> None:
    async for text in page:
        now = time.perf_counter()
        heard.messages += 1
        heard.bytes += len(text)
        told = json.loads(zlib.decompress(text) if isinstance(text, bytes) else text)
        heard.waits += [now - events.at[one] for one in told.get("events", ()) if one in events.at]
