"""The connections of a device to its server, one a purpose, so that none waits for another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from fedops.api_client import BlobClient, DeviceClient, Verify, WorkClient


@dataclass(frozen=True)
class Connections:
    """Each is kept open between calls. All check certificates in the same way."""

    poll: WorkClient
    news: WorkClient
    work: WorkClient
    blobs: BlobClient
    device: DeviceClient
    #: For the renewal of the credential alone: it calls with another one than the others for a while.
    renewal: DeviceClient

    @classmethod
    def open(cls, url: str, token: str, verify: Verify = True, proxy: str | None = None) -> Self:
        """Nothing is sent yet. ``proxy``: its URL; None: straight to the server."""
        way: dict[str, Any] = {"token": token, "verify": verify, "proxy": proxy}
        poll, news, work = (WorkClient(url, **way) for _ in range(3))
        device, renewal = (DeviceClient(url, **way) for _ in range(2))
        return cls(poll, news, work, BlobClient(url, **way), device, renewal)

    def use_token(self, token: str) -> None:
        """Call with another token from now on."""
        for client in (self.poll, self.news, self.work, self.blobs, self.device):
            client.use_token(token)
