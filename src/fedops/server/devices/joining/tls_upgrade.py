"""Devices that joined over plain HTTP learn the server's authority, for a while after it has one."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import TlsUpgrade, TlsUpgradeReply
from fedops.core.errors import Forbidden, NotFound
from fedops.core.server_authority import upgrade_proof
from fedops.core.states import TokenKind
from fedops.server.database.tables import DeviceRow, TokenRow
from fedops.server.protocol.protocol_version import UpgradeRequired
from fedops.server.tls.endpoint import ca_pem
from fedops.server.tls.names import reached_url
from fedops.settings import ServerSettings
from fedops.storage.atomic_files import write_atomic

#: For how long after its first start with TLS a server answers devices that joined without. Seconds.
WINDOW_SECONDS = 30 * 86_400.0


def open_window(session: Session, settings: ServerSettings, now: float) -> float:
    """Until when devices are answered over plain HTTP. It begins with the first start with TLS.

    A server that had no device then has none to upgrade. After a start without TLS it begins anew.
    """
    file = _file(settings)
    if not settings.uses_tls:
        file.unlink(missing_ok=True)
        return 0.0
    until = window_end(settings)
    if until is None:
        known = session.scalar(select(DeviceRow.id).limit(1)) is not None
        until = now + WINDOW_SECONDS if known else now
        write_atomic(file, f"{until:.0f} {time.ctime(until)}\n".encode())
    return until


def window_end(settings: ServerSettings) -> float | None:
    """None: it has not begun."""
    try:
        return float(_file(settings).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def upgrade_device(
    session: Session, settings: ServerSettings, body: TlsUpgrade, now: float
) -> TlsUpgradeReply:
    """What a device needs to go on with TLS, and the proof that it is its server who says so.

    Raises:
        NotFound: the server speaks no TLS.
        UpgradeRequired: it is too late.
        Forbidden: there is no such device.
    """
    if not settings.uses_tls:
        raise NotFound("this server speaks no TLS")
    if now >= (window_end(settings) or 0.0):
        raise UpgradeRequired(
            "this server speaks TLS only, and does not upgrade devices that joined without it any more: on "
            "the device, run the line that 'fedops token create' shows (fedops join URL#fingerprint)"
        )
    known = session.scalars(
        select(TokenRow.hash).where(
            TokenRow.device_id == body.device_id,
            TokenRow.kind == TokenKind.DEVICE,
            TokenRow.revoked_at.is_(None),
            TokenRow.expires_at.is_(None),  # a new one that the device has not confirmed has an end
        )
    ).first()
    if known is None:
        raise Forbidden("this device is not known here")
    url, authorities = reached_url(settings), (ca_pem(settings) or b"").decode()
    proof = upgrade_proof(known, body.nonce, url, authorities)
    return TlsUpgradeReply(url=url, authorities=authorities, proof=proof)


def _file(settings: ServerSettings) -> Path:
    return settings.tls_folder / "plain-http-until"
