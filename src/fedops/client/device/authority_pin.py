"""The server's certificate authority as this device knows it: compared once, then kept."""

from __future__ import annotations

from pathlib import Path

from fedops.api_client import fetch_authority
from fedops.client.device.data_dir import DataDir, write_secret


def pin_authority(home: DataDir, url: str, fingerprint: str, proxy: str | None) -> None:
    """Keep the authority of a server that has this fingerprint.

    Raises:
        Untrusted: the server has another one. What was kept before stays.
        Unavailable: it cannot be reached.
    """
    write_secret(home.authorities, fetch_authority(url, fingerprint, proxy))


def pinned_authorities(home: DataDir, ca_file: Path | None) -> Path | None:
    """Whose word is taken for the server's certificate. None: of whom this machine trusts.

    ``ca_file``: what the owner of the device says, which comes first.
    """
    if ca_file is not None:
        return ca_file
    return home.authorities if home.authorities.exists() else None
