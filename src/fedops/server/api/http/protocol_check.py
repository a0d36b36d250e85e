"""Whether a call is of the version of the protocol that this server speaks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header

from fedops.api_client import PREFIX
from fedops.core.contracts import PROTOCOL_HEADER, RELEASE_HEADER
from fedops.server.protocol.protocol_version import require_protocol


async def _checked(
    said: Annotated[str, Header(alias=PROTOCOL_HEADER)] = "",
    release: Annotated[str, Header(alias=RELEASE_HEADER)] = "",
) -> None:
    require_protocol(said, release)


#: For routers whose every endpoint is for devices or engines.
PROTOCOL_CHECKED = Depends(_checked)

#: What devices called before the protocol had a version.
_RETIRED = (
    f"{PREFIX}/devices/me/heartbeat",
    f"{PREFIX}/devices/me/desired",
    f"{PREFIX}/node/{{rest:path}}",
    "/v1/fleet/{rest:path}",
)
retired = APIRouter(include_in_schema=False)


async def _too_old() -> None:
    """Whoever calls this does not know today's calls, whatever version it names."""
    require_protocol("")


for _path in _RETIRED:
    retired.add_api_route(_path, _too_old, methods=["GET", "POST"])
