"""How a machine becomes a device."""

from __future__ import annotations

from fedops.api_client.transport import Client
from fedops.core import contracts as c


class JoinClient(Client):
    """What a machine without any credential but a join token may do."""

    def join(self, body: c.JoinRequest) -> c.JoinReply:
        return self._call(c.JoinReply, "POST", "/join", body)
