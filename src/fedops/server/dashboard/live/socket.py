"""The WebSocket of an open page: accepted once it is clear who has it, and ended with the session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from fedops.core.errors import FedOpsError
from fedops.server.access import permissions
from fedops.server.access.principal import Principal
from fedops.server.dashboard.live.hub import Asked, LiveHub, Viewer
from fedops.server.dashboard.live.message import BEAT, RELOAD, Message
from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.web import assets
from fedops.server.dashboard.web.paths import require_sound
from fedops.server.dashboard.web.sessions import (
    cookie_of,
    is_same_origin,
    require_leave,
    session_principal,
)
from fedops.server.services.services import Services

#: Without other news a page hears this often that all is well; as often its session is looked at. Seconds.
BEAT_SECONDS = 1.0
_HELLO_SECONDS, _LARGEST_HELLO = 10.0, 64_000
_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013
#: Which page is at a path, with what the path names.
Finder = Callable[[str], tuple[Page, Mapping[str, str]] | None]
Sender = Callable[[Message], Awaitable[None]]


class LiveSocket:
    """The endpoint: ``/live?at=/runs/7?tab=logs``."""

    def __init__(self, services: Services, hub: LiveHub, find: Finder) -> None:
        self._services = services
        self._hub = hub
        self._find = find

    async def answer(self, socket: WebSocket) -> None:
        """Serve one open page until it is closed."""
        found = await self._admit(socket)
        if found is None:
            await socket.close(_POLICY_VIOLATION)
            return
        asked, who, secret = found
        if not await _let_in(socket):
            return
        try:
            await self._serve(socket, asked, who, secret)
        except (WebSocketDisconnect, FedOpsError, TimeoutError):
            await _close(socket, _TRY_AGAIN_LATER)

    async def _admit(self, socket: WebSocket) -> tuple[Asked, Principal, str] | None:
        """What is asked for, and who asks, if they may."""
        secret = cookie_of(socket.headers)
        who = await session_principal(self._services.token_cache, secret)
        if who is None or secret is None or not _is_ours(socket, self._services.settings.url):
            return None
        address = urlsplit(socket.query_params.get("at", ""))
        found = self._find(address.path)
        if found is None:
            return None
        page, path = found
        query = dict(parse_qsl(address.query, keep_blank_values=True)[:20])
        rule = permissions.rule_of("GET", page.path)
        try:
            require_sound(path)
            await require_leave(self._services, who, rule, path, query)
        except FedOpsError:
            return None
        return Asked.of(page, path, query, who), who, secret

    async def _serve(self, socket: WebSocket, asked: Asked, who: Principal, secret: str) -> None:
        has = _Hello.read(await asyncio.wait_for(_first_words(socket), _HELLO_SECONDS))
        if has.build != assets.build():
            await socket.send_text(RELOAD.text)
            return
        viewer = await self._hub.join(asked, who, has.seq, has.digests)
        send = partial(_send_packed if has.unpacks else _send_text, socket)
        try:
            sending = asyncio.ensure_future(self._tell(send, viewer, who, secret))
            hearing = asyncio.ensure_future(_until_closed(socket))
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (sending, hearing):
                task.cancel()
            ended, _ = await asyncio.gather(sending, hearing, return_exceptions=True)
            if isinstance(ended, int):
                await _close(socket, ended)
        finally:
            self._hub.leave(asked, viewer)

    async def _tell(self, send: Sender, viewer: Viewer, who: Principal, secret: str) -> int | None:
        """Messages as they come, and a sign of life, as long as the session lasts and may see the same.

        The code to close the connection with, if it is to be.
        """
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while not viewer.left_behind:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    message = await viewer.messages.get()
            except TimeoutError:
                message = BEAT
            if loop.time() - looked >= BEAT_SECONDS:
                looked = loop.time()
                now = await session_principal(self._services.token_cache, secret)
                if now is None:
                    return _POLICY_VIOLATION
                if (now.roles, now.tasks) != (who.roles, who.tasks):
                    message = RELOAD  # the page shows more than they may see now, or less
            await send(message)
            if message is RELOAD:
                return None
        return _TRY_AGAIN_LATER


async def _send_text(socket: WebSocket, message: Message) -> None:
    await socket.send_text(message.text)


async def _send_packed(socket: WebSocket, message: Message) -> None:
    if message.packed is None:
        await socket.send_text(message.text)
    else:
        await socket.send_bytes(message.packed)


async def _first_words(socket: WebSocket) -> str:
    """The text of the first message; empty, where it has bytes."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message.get("text") or ""


def _is_ours(socket: WebSocket, public_url: str) -> bool:
    """Browsers say with every WebSocket which page opens it."""
    return is_same_origin(socket.headers, public_url)


async def _until_closed(socket: WebSocket) -> None:
    """A page says nothing after its first message."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return


@dataclass(frozen=True)
class _Hello:
    """What a page has: its newest event, its panels, its build, and whether it unpacks messages."""

    seq: int
    digests: Mapping[str, str]
    build: str
    unpacks: bool

    @classmethod
    def read(cls, text: str) -> _Hello:
        """Whatever is wrong is nothing."""
        try:
            said: Any = json.loads(text) if len(text) <= _LARGEST_HELLO else {}
        except ValueError:
            said = {}
        if not isinstance(said, dict):
            said = {}
        seq, panels = said.get("seq"), said.get("panels")
        digests = panels if isinstance(panels, dict) else {}
        return cls(
            seq if isinstance(seq, int) and 0 <= seq < 2**63 else 0,
            {str(name): str(digest) for name, digest in digests.items()},
            str(said.get("build", "")),
            said.get("unpacks") is True,
        )


async def _let_in(socket: WebSocket) -> bool:
    """Whether it waited for that: who left meanwhile cannot be accepted."""
    try:
        await socket.accept()
    except (RuntimeError, WebSocketDisconnect):
        return False
    return True


async def _close(socket: WebSocket, code: int) -> None:
    try:
        await socket.close(code)
    except RuntimeError:  # it is closed
        return
