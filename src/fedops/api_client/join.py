"""How a machine becomes a device."""

from __future__ import annotations

from fedops.api_client.transport import Client
from fedops.core import contracts as c


class JoinClient(Client):
    """What a machine without any credential but a join token may do."""

    def join(self, body: c.JoinRequest) -> c.JoinReply:
        """Hand in the token. Over plain HTTP not before the server has shown that it answers that."""
        self._require_plain_http()
        return self._call(c.JoinReply, "POST", "/join", body)

    def tls_upgrade(self, body: c.TlsUpgrade) -> c.TlsUpgradeReply:
        """How to go on with TLS. Nothing secret is sent. ``NotFound``: the server speaks none."""
        return self._call(c.TlsUpgradeReply, "POST", "/tls-upgrade", body)
