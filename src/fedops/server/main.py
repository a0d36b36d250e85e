"""The Server Manager as a program: one process, from its first check to its last child's end."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from fedops.core.engine import RunEngine
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid
from fedops.processes import hold_lock
from fedops.server.app import ServerManager, create_app
from fedops.settings import ServerSettings

logger = logging.getLogger("fedops.server")

LOCK = "server.lock"
#: How long requests that are under way may take when the server ends. Seconds.
GRACE_SECONDS = 3
#: Longer than our clients keep an idle connection, so that none is closed while one sends on it.
KEEP_ALIVE_SECONDS = 30
#: Each device holds two long polls and a connection or two for what it says.
OPEN_FILES = 16_384
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Say = Callable[[str], None]


def run(settings: ServerSettings, say: Say = print) -> None:
    """Serve until SIGINT or SIGTERM. ``FedOpsError`` when it cannot begin.

    Runs that are going on are not lost: the next start continues them.
    """
    settings.require_safe_binding()
    with contextlib.ExitStack() as held:
        _make_home(settings)
        held.enter_context(hold_lock(settings.home / LOCK, "a Server Manager"))
        listener = held.enter_context(bind(settings.host, settings.port))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        set_up_logging()
        _raise_open_files()
        app = create_app(settings, _flower(settings), dashboard=True)
        _open(app)
        _introduce(settings, say)
        _serve(app, listener)


def _flower(settings: ServerSettings) -> RunEngine:
    from fedops.flower.engine import FlowerEngine  # takes a second to import

    return FlowerEngine(settings.home / "engine", settings.attempts_dir)


def _make_home(settings: ServerSettings) -> None:
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Invalid(
            f"cannot use {settings.home} as the server's folder: {error.strerror}; "
            "give another one with --home"
        ) from None


def _open(app: FastAPI) -> None:
    """Do what can fail for a reason the user can act on before the server is up."""
    manager: ServerManager = app.state.manager
    try:
        manager.open()
    except FedOpsError:
        manager.services.db.close()
        raise


def _introduce(settings: ServerSettings, say: Say) -> None:
    say(f"Server Manager on {settings.url}")
    say(f"The admin token is in {settings.admin_token_file}")


# --- the socket ------------------------------------------------------------------------------


def bind(host: str, port: int) -> socket.socket:
    """A socket on the address, or one message on why not."""
    family, address = _resolve(host, port)
    listener = socket.socket(family)
    try:
        if sys.platform != "win32":  # there it would allow two servers on one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Now, not when the app is up: whoever connects meanwhile waits instead of being refused.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _cannot_bind(host, port, error) from None
    return listener


def _resolve(host: str, port: int) -> tuple[int, Any]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Invalid(f"cannot listen on '{host}': {error}; give an address with --host") from None
    family, _, _, _, address = found[0]
    return family, address


def _cannot_bind(host: str, port: int, error: OSError) -> FedOpsError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} on {host} is taken by another program; "
            "end that one, or give another port with --port (0: any free one)"
        )
    if error.errno == errno.EACCES:
        return Forbidden(f"this user may not listen on port {port}; give one above 1023")
    return Invalid(f"cannot listen on {host}:{port}: {error.strerror}; is it this machine's?")


# --- serving ---------------------------------------------------------------------------------


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


def _serve(app: FastAPI, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    manager: ServerManager = app.state.manager
    server = _Server(config, manager.services.doorbell.close)
    server.run(sockets=[listener])
    if not server.started:
        raise FedOpsError("the Server Manager could not start; see the log above")


def set_up_logging() -> None:
    """One readable line for each thing worth one, on stderr."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    quiet: Sequence[str] = ("httpx", "httpcore", "uvicorn", "alembic", "websockets", "engineio")
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)


def _raise_open_files() -> None:
    """As many connections as this user may have, up to what a thousand devices need."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
