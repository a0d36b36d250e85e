"""The edge of a process as its settings want it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp

from fedops.api_client import PREFIX
from fedops.server.access.token_cache import TokenCache
from fedops.server.edge.connections import ConnectionBook
from fedops.server.edge.gate import Gate, Places, Traffic
from fedops.server.edge.hosts import Hosts
from fedops.server.protocol.rates import Rates
from fedops.server.tls.names import server_names
from fedops.settings import ServerSettings

#: Of one address: guesses of a credential a minute, and joins that are refused.
GUESSES_PER_MINUTE, FAILED_JOINS_PER_MINUTE = 600.0, 60.0


def guarded(
    app: ASGIApp,
    tokens: TokenCache,
    settings: ServerSettings,
    refused: Callable[[str, str | None], Awaitable[None]] | None = None,
) -> Gate:
    """An app behind its gate. ``refused`` hears why a credential is worth nothing, and from where it came."""
    names = {settings.host, *settings.listed_names}
    if settings.uses_tls:  # under what the certificate is for, it is reached
        names |= {*settings.tls_name_list, *server_names(settings)}
    traffic = Traffic(
        calls=Rates(settings.device_calls_per_minute),
        body_bytes=Rates(settings.device_bytes_per_minute),
        guesses=Rates(GUESSES_PER_MINUTE),
        failed_joins=Rates(FAILED_JOINS_PER_MINUTE),
        joins=Rates(settings.joins_per_hour / 60.0, burst=settings.joins_per_hour),
    )
    return Gate(
        app,
        tokens,
        Hosts(settings.public_url, names),
        Places(
            api=PREFIX,
            health="/health",
            join=PREFIX + "/join",
            open=(PREFIX + "/sign-in", PREFIX + "/tls-upgrade"),
            own=(PREFIX + "/work", PREFIX + "/blobs"),
            signed=PREFIX + "/hooks",
        ),
        traffic,
        ConnectionBook(proxies=settings.listed_proxies),
        refused,
    )
