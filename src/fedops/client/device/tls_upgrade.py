"""A device that joined over plain HTTP goes on with TLS, as soon as its server speaks it."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from dataclasses import replace
from pathlib import Path

from fedops.api_client import JoinClient, Untrusted, proxy_for, trust
from fedops.client.device.authority_pin import pin_authority, pinned_authorities, require_tls
from fedops.client.device.data_dir import DataDir, Identity, write_secret
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, NotFound, Unavailable
from fedops.core.server_authority import split_fingerprint, upgrade_proof

logger = logging.getLogger("fedops.client")
_ASK_SECONDS = 10.0


def settle_trust(
    home: DataDir,
    identity: Identity,
    named: str | None,
    ca_file: Path | None,
    proxy: str | None,
    *,
    keeps_secret: bool = True,
) -> tuple[Identity, str]:
    """What a Client Manager does before it sends anything: upgrade to TLS, or pin a server that moved.

    ``named``: the URL of the server, if another than the one that was joined, perhaps with a fingerprint;
    ``proxy`` is as ``device.toml`` has it. ``keeps_secret``: whether the data dir holds the token, rather
    than systemd. Returns who the device is by now, and the URL to go on with.
    """
    url, fingerprint = split_fingerprint(named or identity.server)
    if url in (identity.server, identity.server.replace("https://", "http://", 1)):
        way = proxy_for(identity.server, proxy)
        identity = upgrade_to_tls(home, identity, ca_file, way, keeps_secret=keeps_secret)
        url = identity.server
    if fingerprint and (url != identity.server or not home.authorities.exists()):
        pin_authority(home, url, fingerprint, proxy_for(url, proxy))
    return identity, url


def upgrade_to_tls(
    home: DataDir,
    identity: Identity,
    ca_file: Path | None,
    proxy: str | None,
    *,
    keeps_secret: bool = True,
) -> Identity:
    """The identity to go on with, as it is kept from then on: with an https:// URL, if the server has one.

    The server is asked without the device's token, and shows that it knows it: who is only on the way, and
    did not read the token before, cannot name another authority.

    Raises:
        Untrusted: who answered does not know the token.
        OtherVersion: the server answers TLS alone, and does not upgrade devices any more.
    """
    if not identity.server.startswith("http://"):
        return identity
    request = c.TlsUpgrade(device_id=identity.device_id, nonce=secrets.token_hex(16))
    try:
        with JoinClient(identity.server, timeout=_ASK_SECONDS, proxy=proxy) as client:
            reply = client.tls_upgrade(request)
    except (NotFound, Unavailable) as error:
        logger.debug("no upgrade to TLS: %s", error.message)
        return identity
    _require_proof(identity, request.nonce, reply)
    upgraded = _with_tls(home, identity, reply, ca_file, proxy)
    if upgraded != identity:
        (upgraded if keeps_secret else replace(upgraded, token="")).save(home)
    return upgraded


def _require_proof(identity: Identity, nonce: str, reply: c.TlsUpgradeReply) -> None:
    mine = [identity.token, identity.next_token]  # the server takes the one that was confirmed
    proofs = [
        upgrade_proof(
            hashlib.sha256(token.encode()).hexdigest(), nonce, reply.url, reply.authorities
        )
        for token in mine
        if token
    ]
    if not any(hmac.compare_digest(proof.encode(), reply.proof.encode()) for proof in proofs):
        raise Untrusted(
            f"what answers at {identity.server} names a certificate authority, but does not show that it is "
            "the server that this device joined: somebody on the way may pretend to be it. Use the line that "
            "'fedops token create' on the server shows, with its fingerprint"
        )


def _with_tls(
    home: DataDir,
    identity: Identity,
    reply: c.TlsUpgradeReply,
    ca_file: Path | None,
    proxy: str | None,
) -> Identity:
    if reply.authorities:
        write_secret(home.authorities, reply.authorities)
    verify = trust(pinned_authorities(home, ca_file))
    same_address = identity.server.replace("http://", "https://", 1)
    for url in (same_address, reply.url.rstrip("/")):
        try:
            require_tls(url, verify, proxy)
        except FedOpsError as error:
            logger.warning("the server speaks TLS, but not at %s: %s", url, error.message)
            continue
        upgraded = replace(identity, server=url)
        logger.info("from now on this device talks to its server by TLS: %s", url)
        return upgraded
    return identity
