"""Whether a call is of the version of the protocol that this server speaks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from fedops.core.contracts import PROTOCOL_HEADER
from fedops.server.protocol import require_protocol


async def _checked(said: Annotated[str, Header(alias=PROTOCOL_HEADER)] = "") -> None:
    require_protocol(said)


#: For routers whose every endpoint is for devices or engines.
PROTOCOL_CHECKED = Depends(_checked)
