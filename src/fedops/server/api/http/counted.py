"""Requests are counted on their way: how many, of which route, how they ended, how long they took."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedops.server.access.permissions import ROUTES
from fedops.server.measures.measures import Measures
from fedops.server.measures.routes import Routes

#: The caller went away before there was an answer.
UNANSWERED = "none"


class Counted:
    """An ASGI app before another. What is refused before it is not counted."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._measures = measures
        self._routes = Routes(ROUTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        code, received, sent = UNANSWERED, 0, 0

        async def take() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def give(message: Message) -> None:
            nonlocal code, sent
            if message["type"] == "http.response.start":
                code = str(message["status"])
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, take, give)
        finally:
            route, method = self._routes.names(scope["method"], scope["path"])
            seconds = time.perf_counter() - began
            self._measures.request(route, method, code, seconds, received, sent)
