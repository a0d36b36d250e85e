"""The version of the protocol that devices and engines speak, said with each of their calls."""

from __future__ import annotations

from fedops import __version__
from fedops.core.contracts import PROTOCOL
from fedops.core.errors import Conflict


class UpgradeRequired(Conflict):
    """Both sides must speak the same version."""

    http_status = 426


def require_protocol(said: str, release: str = "") -> None:
    """``UpgradeRequired`` unless a call says that it is of our version.

    ``release`` is the caller's release of FedOps, as far as it names one.
    """
    if said == str(PROTOCOL):
        return
    newer = said.isascii() and said[:9].isdigit() and int(said[:9]) > PROTOCOL
    theirs = f"FedOps {release[:64]}" if release else ""
    what = (
        f"update FedOps on the server{f' to {release[:64]}' if release else ''}, or install the server's"
        f" release {__version__} on this machine (on a device: 'fedops client upgrade')"
        if newer
        else f"update FedOps on this machine to the server's release {__version__} (on a device: 'fedops"
        " client upgrade'), and start it again"
    )
    named = f"is of version '{said[:20]}'" if said else "names none"
    raise UpgradeRequired(
        f"this server speaks version {PROTOCOL} of the FedOps protocol (FedOps {__version__}), and the call"
        f" {named}{f' ({theirs})' if theirs else ''}: {what}"
    )
