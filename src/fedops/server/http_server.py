"""The web server of a process: it begins once everything can, and ends in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Literal, cast

import uvicorn
from starlette.types import ASGIApp

from fedops.core.errors import FedOpsError
from fedops.server.tls.endpoint import TlsEndpoint
from fedops.server.tls.one_port import MakeProtocol, OnePort

logger = logging.getLogger("fedops.server")

#: How long requests that are under way may take when the server ends. Seconds.
GRACE_SECONDS = 3
#: Longer than our clients keep an idle connection, so that none is closed while one sends on it.
KEEP_ALIVE_SECONDS = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Secure:
    """TLS on a server's port.

    ``plain`` answers who speaks plain HTTP there. ``local`` is a port of loopback for processes that the
    server starts itself; None: it starts none that call it.
    """

    endpoint: TlsEndpoint
    plain: ASGIApp
    local: tuple[socket.socket, ASGIApp] | None = None


def serve(
    app: ASGIApp,
    listener: socket.socket,
    backlog: int,
    *,
    name: str,
    let_go: Callable[[], None] = lambda: None,
    secure: Secure | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    ``backlog``: how many may wait to be let in. ``let_go`` answers those who wait for news. ``name``: what
    this process is called.
    """
    server = _Server(_config(app, backlog, lifespan="on"), let_go, secure)
    server.run(sockets=[listener])
    if not server.started:
        raise FedOpsError(f"the {name} could not start; see the log above")


def _config(app: ASGIApp, backlog: int, *, lifespan: Literal["on", "off"]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=backlog,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan=lifespan,
    )


class _Server(uvicorn.Server):
    """Ends in order: first those who wait for news are let go, then requests, then the rest."""

    def __init__(
        self, config: uvicorn.Config, let_go: Callable[[], None], secure: Secure | None
    ) -> None:
        super().__init__(config)
        self._let_go = let_go
        self._secure = secure

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._secure is None:
            await super().startup(sockets=sockets)
            return
        await super().startup(sockets=[])
        if not self.should_exit:
            await self._open(self._secure, sockets or [])

    async def _open(self, secure: Secure, listeners: list[socket.socket]) -> None:
        ours, plain = self._protocols(self.config.app), self._protocols(secure.plain)
        for listener in listeners:
            door = OnePort(listener, secure.endpoint.context, ours, plain)
            self.servers.append(cast(asyncio.Server, door))
        if secure.local is not None:
            listener, app = secure.local
            create = asyncio.get_running_loop().create_server
            self.servers.append(await create(self._protocols(app), sock=listener))

    def _protocols(self, app: object) -> MakeProtocol:
        """What makes the HTTP of a connection whose calls go to ``app``."""
        config = _config(cast(ASGIApp, app), self.config.backlog, lifespan="off")
        config.load()
        return partial(
            cast(Callable[..., asyncio.Protocol], config.http_protocol_class),
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._let_go()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end, and so cut off what ends our children.
        def handle(number: int, frame: FrameType | None) -> None:
            logger.info("ending on %s", signal.Signals(number).name)
            self.handle_exit(number, frame)

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True  # a second signal hastens nothing: the end takes seconds anyway
