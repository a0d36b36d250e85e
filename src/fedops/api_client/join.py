"""How a machine becomes a device."""

from __future__ import annotations

from fedops.api_client.transport import Client, raise_for_error
from fedops.core import contracts as c


class JoinClient(Client):
    """What a machine without any credential but a join token may do."""

    def join(self, body: c.JoinRequest) -> c.JoinReply:
        """Hand in the token. Over plain HTTP not before the server has shown that it answers that."""
        if self.url.startswith("http://"):
            with self._as_fedops_errors():
                answer = self._http.get("/health", headers={"connection": "close"})
            if answer.status_code == 426:
                raise_for_error(answer)
        return self._call(c.JoinReply, "POST", "/join", body)

    def tls_upgrade(self, body: c.TlsUpgrade) -> c.TlsUpgradeReply:
        """How to go on with TLS. Nothing secret is sent. ``NotFound``: the server speaks none."""
        return self._call(c.TlsUpgradeReply, "POST", "/tls-upgrade", body)
