"""The connections of a device to its server, one a purpose, so that none waits for another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fedops.api_client import BlobClient, DeviceClient, WorkClient, trust


@dataclass(frozen=True)
class Connections:
    """Each is kept open between calls. All check certificates in the same way."""

    poll: WorkClient
    news: WorkClient
    work: WorkClient
    blobs: BlobClient
    device: DeviceClient

    @classmethod
    def open(cls, url: str, token: str, ca_file: Path | None) -> Self:
        """Nothing is sent yet.

        Raises:
            Invalid: ``ca_file`` holds no certificates.
        """
        verify = trust(ca_file)
        poll, news, work = (WorkClient(url, token=token, verify=verify) for _ in range(3))
        return cls(
            poll,
            news,
            work,
            BlobClient(url, token=token, verify=verify),
            DeviceClient(url, token=token, verify=verify),
        )
