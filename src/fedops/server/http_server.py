"""The Server Manager's web server: it begins once everything can, and ends in order."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from fedops.core.errors import FedOpsError
from fedops.server.app import ServerManager, create_app, front
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.settings import ServerSettings

logger = logging.getLogger("fedops.server")

#: How long requests that are under way may take when the server ends. Seconds.
GRACE_SECONDS = 3
#: Longer than our clients keep an idle connection, so that none is closed while one sends on it.
KEEP_ALIVE_SECONDS = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def open_app(settings: ServerSettings, engines: EngineProcesses) -> FastAPI:
    """The app, with everything done that can fail for a reason the user can act on."""
    app = create_app(settings, engines, dashboard=True)
    manager: ServerManager = app.state.manager
    try:
        manager.open()
    except FedOpsError:
        manager.services.db.close()
        raise
    return app


def serve(app: FastAPI, listener: socket.socket, backlog: int) -> None:
    """Serve until SIGINT or SIGTERM. ``backlog``: how many may wait to be let in."""
    config = uvicorn.Config(
        front(app),
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=backlog,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    manager: ServerManager = app.state.manager
    server = _Server(config, manager.services.let_go)
    server.run(sockets=[listener])
    if not server.started:
        raise FedOpsError("the Server Manager could not start; see the log above")


class _Server(uvicorn.Server):
    """Ends in order: first those who wait for news are let go, then requests, then the rest."""

    def __init__(self, config: uvicorn.Config, let_go: Callable[[], None]) -> None:
        super().__init__(config)
        self._let_go = let_go

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
