"""What a page fetches or lets one download, by the session of its browser: files, pictures, large data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from fedops.server.access.principal import Principal
from fedops.server.services.services import Services


@dataclass(frozen=True)
class Resource:
    """An address that is no page. Its rule is that of ``GET`` its path."""

    path: str
    answer: Callable[[Request, Services, Principal], Awaitable[Response]]
