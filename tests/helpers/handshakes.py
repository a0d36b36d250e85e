"""TLS between two contexts in memory, and what an authority is asked to vouch for."""

from __future__ import annotations

import ssl


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> bytes:
    """The certificate (DER) that the client accepted; raises as the client would."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for one in (here, there):
            try:
                one.do_handshake()
                done.add(one)
            except ssl.SSLWantReadError:
                continue
    return here.getpeercert(True) or b""
