"""The version of the protocol that devices and engines speak, said with each of their calls."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from fedops.core.contracts import PROTOCOL, PROTOCOL_HEADER
from fedops.core.errors import Conflict


class UpgradeRequired(Conflict):
    """Both sides must speak the same version."""

    http_status = 426


def require_protocol(said: str) -> None:
    """``UpgradeRequired`` unless a call is of our version."""
    if said == str(PROTOCOL):
        return
    newer = said.isascii() and said.isdigit() and int(said[:9]) > PROTOCOL
    what = "install the server's version of FedOps here, or upgrade the server" if newer else ""
    raise UpgradeRequired(
        f"this server speaks version {PROTOCOL} of the protocol, "
        f"and the call {f'is of version {said[:20]}' if said else 'names none'}; "
        + (what or "install the server's version of FedOps on this machine and start it again")
    )


async def _checked(said: Annotated[str, Header(alias=PROTOCOL_HEADER)] = "") -> None:
    require_protocol(said)


#: For routers whose every endpoint is for devices or engines.
PROTOCOL_CHECKED = Depends(_checked)
