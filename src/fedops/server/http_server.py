"""The web server of a process: it begins once everything can, and ends in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Literal, cast

import uvicorn
from starlette.types import ASGIApp

from fedops.core.errors import FedOpsError
from fedops.server.edge.connections import ConnectionBook
from fedops.server.edge.gate import Gate
from fedops.server.edge.watched_protocol import WatchedProtocol
from fedops.server.protocol.error_replies import as_shortage, log_trouble
from fedops.server.tls.endpoint import TlsEndpoint
from fedops.server.tls.one_port import MakeProtocol, OnePort, Opening

logger = logging.getLogger("fedops.server")

#: How long requests that are under way may take when the server ends. Seconds.
GRACE_SECONDS = 3
#: What takes longer to close (a database that hangs) is left as it is: a start goes on after any end. When
#: all is closed, threads that wait for others (a Git server that hangs) are not waited for. Seconds.
CLOSE_SECONDS, LEAVE_SECONDS = 20.0, 2.0
#: Longer than our clients keep an idle connection, so that none is closed while one sends on it.
KEEP_ALIVE_SECONDS = 30
#: The largest message of a WebSocket: pages send clicks.
MESSAGE_BYTES = 1 << 20
_TICKS_A_SECOND = 10
#: Of containers that are not freed: a page of a thousand devices makes more than the usual 700.
_ALLOCATIONS_BETWEEN = 20_000
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
    app: Gate,
    listener: socket.socket,
    backlog: int,
    *,
    name: str,
    proxies: Sequence[str] = (),
    let_go: Callable[[], None] = lambda: None,
    secure: Secure | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. Soon afterwards the process ends, whatever its threads wait for.

    ``backlog``: how many may wait to be let in. ``let_go`` answers those who wait for news. ``name``: what
    this process is called. ``proxies``: whose word counts on where a request comes from.
    """
    _look_for_garbage_seldom()
    server = _Server(app, _Wire(app.book, backlog, proxies), let_go, secure)
    server.run(sockets=[listener])
    if not server.started:
        raise FedOpsError(f"the {name} could not start; see the log above")


def _look_for_garbage_seldom() -> None:
    """What was imported stays, and what a request makes is freed without the collector's help."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN, 10, 10)


@dataclass(frozen=True)
class _Wire:
    """How the connections of this process are served, whichever app answers them."""

    book: ConnectionBook
    backlog: int
    proxies: Sequence[str]

    def config(self, app: ASGIApp, lifespan: Literal["on", "off"]) -> uvicorn.Config:
        return uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            backlog=self.backlog,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan=lifespan,
            http=partial(WatchedProtocol, self.book),  # type: ignore[arg-type]
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES,
            ws_per_message_deflate=False,  # pages are sent what was packed once for all of them
            proxy_headers=bool(self.proxies),
            forwarded_allow_ips=list(self.proxies),
        )

    def watch(self, address: str, opening: Opening) -> Callable[[], None]:
        """A connection before its first byte or its handshake is limited as any other."""
        made = self.book.open(address, opening, asyncio.get_running_loop().time())
        return partial(self.book.close, made)


class _Server(uvicorn.Server):
    """Ends in order: first those who wait for news are let go, then requests, then the rest."""

    def __init__(
        self, gate: Gate, wire: _Wire, let_go: Callable[[], None], secure: Secure | None
    ) -> None:
        super().__init__(wire.config(gate, "on"))
        self._gate, self._wire = gate, wire
        self._let_go = let_go
        self._secure = secure

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_SECOND == 0:
            self._gate.look(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_loop_failed)
        if self._secure is None:
            await super().startup(sockets=sockets)
            return
        await super().startup(sockets=[])
        if not self.should_exit:
            await self._open(self._secure, sockets or [])

    async def _open(self, secure: Secure, listeners: list[socket.socket]) -> None:
        ours, plain = self._protocols(self._gate), self._protocols(secure.plain)
        for listener in listeners:
            door = OnePort(
                listener, secure.endpoint.context, ours, plain, self._wire.watch, _not_let_in
            )
            self.servers.append(cast(asyncio.Server, door))
        if secure.local is not None:
            listener, app = secure.local
            create = asyncio.get_running_loop().create_server
            self.servers.append(await create(self._protocols(app), sock=listener))

    def _protocols(self, app: ASGIApp) -> MakeProtocol:
        """What makes the HTTP of a connection whose calls go to ``app``."""
        config = self._wire.config(app, "off")
        config.load()
        return partial(
            cast(Callable[..., asyncio.Protocol], config.http_protocol_class),
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        last = _after(CLOSE_SECONDS, _give_up)
        self._let_go()
        await super().shutdown(sockets)
        last.cancel()
        _after(LEAVE_SECONDS, partial(os._exit, 0))

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


def _after(seconds: float, act: Callable[[], None]) -> threading.Timer:
    """Act then, unless the process has ended. Python's own end waits for every thread of a pool."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer


def _give_up() -> None:
    logger.warning(
        "could not close everything in %.0f s, and ends as it is; "
        "nothing that was confirmed is lost, and the next start goes on",
        CLOSE_SECONDS,
    )
    os._exit(1)


def _not_let_in(error: OSError) -> None:
    """The same, where we let connections in ourselves."""
    if (lacking := as_shortage(error)) is not None:
        log_trouble(lacking)
    else:
        logger.warning("nobody is let in for a moment: %s", error)


def _loop_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that cannot be taken for want of open files is said once a minute, not once a second."""
    error = context.get("exception")
    lacking = as_shortage(error) if error is not None else None
    if lacking is None:
        loop.default_exception_handler(context)
    else:
        log_trouble(lacking)
