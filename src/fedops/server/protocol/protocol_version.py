"""The version of the protocol that devices and engines speak, said with each of their calls."""

from __future__ import annotations

from fedops.core.contracts import PROTOCOL
from fedops.core.errors import Conflict


class UpgradeRequired(Conflict):
    """Both sides must speak the same version."""

    http_status = 426


def require_protocol(said: str) -> None:
    """``UpgradeRequired`` unless a call says that it is of our version."""
    if said == str(PROTOCOL):
        return
    newer = said.isascii() and said[:9].isdigit() and int(said[:9]) > PROTOCOL
    what = (
        "update FedOps on the server, or install the server's version on this machine"
        if newer
        else "update FedOps on this machine to the server's version, and start it again"
    )
    named = f"is of version '{said[:20]}'" if said else "names none"
    raise UpgradeRequired(
        f"this server speaks version {PROTOCOL} of the FedOps protocol, and the call {named}: {what}"
    )
