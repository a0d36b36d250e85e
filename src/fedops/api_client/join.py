"""How a machine becomes a device."""

from __future__ import annotations

from fedops import __version__
from fedops.api_client.transport import PREFIX, Client, OtherVersion, parse, raise_for_error
from fedops.core import contracts as c


class JoinClient(Client):
    """What a machine without any credential but a join token may do."""

    def join(self, body: c.JoinRequest) -> c.JoinReply:
        """Hand in the token. Over plain HTTP not before the server has shown that it answers that."""
        self._require_plain_http()
        with self._as_fedops_errors():
            response = self._http.post(f"{PREFIX}/join", json=body.model_dump(mode="json"))
        if response.status_code == 404:  # nothing that is not there is named in this call
            raise OtherVersion(
                f"{self.url} does not know the call with which FedOps {__version__} joins: is it the URL of a"
                " Server Manager? If so, update FedOps there"
            )
        raise_for_error(response)
        return parse(c.JoinReply, response)

    def tls_upgrade(self, body: c.TlsUpgrade) -> c.TlsUpgradeReply:
        """How to go on with TLS. Nothing secret is sent. ``NotFound``: the server speaks none."""
        return self._call(c.TlsUpgradeReply, "POST", "/tls-upgrade", body)
