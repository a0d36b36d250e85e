"""Whether the server on this machine already shows a certificate of an authority."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fedops.api_client import DeviceClient, Unreachable, trust_pem
from fedops.core.errors import FedOpsError
from fedops.waiting import wait_until

#: For so long it is waited for. A server looks at its files every ten seconds.
_SECONDS, _PAUSE = 20.0, 0.25


def shows_authority(local_url: Path, authority: str, seconds: float = _SECONDS) -> bool | None:
    """Whether it does, waited for. None: no server runs here, or it speaks no TLS.

    ``local_url``: the file in which a server says where it is reached. ``authority``: PEM.
    """
    try:
        url = local_url.read_text().strip()
    except OSError:
        return None
    if not url.startswith("https://"):
        return None
    try:
        return wait_until(partial(_accepts, url, authority), seconds, every=_PAUSE)
    except Unreachable:
        return None


def _accepts(url: str, authority: str) -> bool:
    with DeviceClient(url, verify=trust_pem(authority), timeout=5.0) as client:
        try:
            client.authorities()
        except Unreachable:
            raise
        except FedOpsError:
            return False
        return True
