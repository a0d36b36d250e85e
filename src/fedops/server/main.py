"""The programs of a server, each from its first check to its end: the Server Manager, and a file server."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid
from fedops.platforms.confinement import hide_memory, write_no_core
from fedops.platforms.files import keep_to_owner, make_own
from fedops.platforms.processes import raise_open_files
from fedops.processes.lock import hold_lock
from fedops.processes.log_output import log_to_stderr
from fedops.server.database.backup_lock import require_finished
from fedops.server.database.database import parse_url
from fedops.server.jobs.app_code import AppCode
from fedops.server.jobs.engine_process import COMMAND, LocalEngineProcesses
from fedops.settings import ServerSettings
from fedops.storage.atomic_files import write_atomic

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from fedops.server.http_server import Secure
    from fedops.server.tls.endpoint import TlsEndpoint

logger = logging.getLogger("fedops.server")

LOCK = "server.lock"
#: How often it is looked whether the server's certificate ends soon, or was replaced. Seconds.
CERTIFICATE_SECONDS = 10.0
#: Each device holds a long poll and a connection or two for files and what it says.
OPEN_FILES = 16_384
#: How long one thread computes before the event loop, whose turns are short, may go on. Seconds.
SWITCH_SECONDS = 0.001
#: How many may wait to be let in, when a thousand devices come back at once.
BACKLOG = 4_096

#: Told the settings that are really used, port included, when everything can begin.
Announce = Callable[[ServerSettings], None]
#: The same of a Server Manager, with a code that signs a browser in once; "" after the first start of all.
AnnounceManager = Callable[[ServerSettings, str], None]


def run(
    settings: ServerSettings, announce: AnnounceManager, engine_command: Sequence[str] = COMMAND
) -> None:
    """Serve until SIGINT or SIGTERM. ``FedOpsError`` when it cannot begin.

    ``engine_command``: what executes an attempt, given its ticket.

    Runs that are going on are not lost: the next start continues them.
    """
    settings.require_safe_binding()
    with contextlib.ExitStack() as held:
        _make_home(settings)
        held.enter_context(hold_lock(settings.home / LOCK, "a Server Manager"))
        AppCode(settings).require()
        settings, listener = _begin(settings, held)
        settings, local = _bind_local(settings, held)
        # Only here: it takes a second to import, and what was wrong above is said at once.
        from fedops.server.app import front, front_of_engines, front_of_plain_http, open_app
        from fedops.server.http_server import serve

        endpoint = _open_tls(settings, held)
        place = settings.engine_folder / "engine"
        engines = LocalEngineProcesses(place, engine_command, AppCode(settings))
        held.callback(engines.close)
        app = open_app(settings, engines)
        here = f"{settings.local_url}\n".encode()
        write_atomic(settings.local_url_file, here, mode=0o600, durable=False)
        announce(settings, app.state.first_code)
        let_go = app.state.manager.services.let_go
        gate, proxies = front(app), settings.listed_proxies
        plain, for_engines = front_of_plain_http(app, gate), front_of_engines(gate)
        serve(
            gate,
            listener,
            BACKLOG,
            name="Server Manager",
            proxies=proxies,
            let_go=let_go,
            secure=_secure(endpoint, plain, (local, for_engines) if local else None),
        )


def run_file_server(settings: ServerSettings, announce: Announce) -> None:
    """Serve files until SIGINT or SIGTERM, beside the Server Managers of the same database.

    It may have the home folder of one of them. ``FedOpsError`` when it cannot begin.
    """
    settings.require_safe_binding()
    _require_shared_database(settings)
    with contextlib.ExitStack() as held:
        _make_home(settings)
        settings, listener = _begin(settings, held)
        from fedops.server.api.http.plain_door import PlainDoor
        from fedops.server.file_server import file_app, open_file_server
        from fedops.server.http_server import serve

        endpoint = _open_tls(settings, held)
        member = open_file_server(settings)
        announce(settings)
        files = file_app(member)
        doors = _secure(endpoint, PlainDoor(files))
        proxies = settings.listed_proxies
        serve(files, listener, BACKLOG, name="file server", proxies=proxies, secure=doors)


def _begin(
    settings: ServerSettings, held: contextlib.ExitStack
) -> tuple[ServerSettings, socket.socket]:
    """Listen, and be ready to say what happens. The settings with the port that it is."""
    write_no_core()
    hide_memory()
    require_finished(settings.home)
    listener = held.enter_context(bind(settings.host, settings.port))
    log_to_stderr(form=settings.log_format)
    raise_open_files(OPEN_FILES)
    return settings.model_copy(update={"port": listener.getsockname()[1]}), listener


def _bind_local(
    settings: ServerSettings, held: contextlib.ExitStack
) -> tuple[ServerSettings, socket.socket | None]:
    """With TLS, FL servers have a port of their own, on loopback: a certificate may be for other names."""
    if not settings.uses_tls:
        return settings, None
    listener = held.enter_context(bind("127.0.0.1", settings.engine_port))
    return settings.model_copy(update={"engine_port": listener.getsockname()[1]}), listener


def _open_tls(settings: ServerSettings, held: contextlib.ExitStack) -> TlsEndpoint | None:
    """The server's certificate, looked after until the end."""
    if not settings.uses_tls:
        return None
    from fedops.server.jobs.periodic import PeriodicJob
    from fedops.server.tls.endpoint import TlsEndpoint

    endpoint = TlsEndpoint(settings)
    keeper = PeriodicJob("certificates", endpoint.refresh, CERTIFICATE_SECONDS)
    keeper.start()
    held.callback(keeper.end)
    return endpoint


def _secure(
    endpoint: TlsEndpoint | None,
    plain: ASGIApp,
    local: tuple[socket.socket, ASGIApp] | None = None,
) -> Secure | None:
    """What serves a port that has TLS; None: it has none."""
    from fedops.server.http_server import Secure

    return Secure(endpoint, plain, local) if endpoint else None


def _require_shared_database(settings: ServerSettings) -> None:
    if parse_url(settings.database).get_backend_name() == "sqlite":
        raise Invalid(
            "a file server needs PostgreSQL, and this database is SQLite, which the Server Manager has "
            "alone: set FEDOPS_DATABASE_URL for both, or put nginx in front and let it send the files "
            "(FEDOPS_SERVER_ACCEL_PREFIX)"
        )


def _make_home(settings: ServerSettings) -> None:
    try:
        if make_own(settings.home):
            logger.warning("%s could be read by other users; now it is yours alone", settings.home)
    except OSError as error:
        raise Invalid(
            f"cannot use {settings.home} as the server's folder: {error.strerror}; "
            "give another one with --home"
        ) from None
    keep_to_owner()


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
        listener.listen(BACKLOG)
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
