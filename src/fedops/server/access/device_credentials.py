"""How the credential of a device is replaced: the new one is confirmed with itself before the old one ends.

Whoever crashes in between, server or device, loses nothing: until then both are valid, and afterwards the
device has kept the new one.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import CredentialReply
from fedops.core.errors import Conflict
from fedops.core.states import TokenKind
from fedops.server.access.principal import Principal
from fedops.server.access.tokens import issue_token
from fedops.server.database.tables import TokenRow
from fedops.server.events.notifications import TokensChanged, notify

#: How long a new credential waits to be confirmed, and how long the old one is good afterwards, for calls
#: that are under way. Seconds.
UNCONFIRMED_SECONDS, OLD_SECONDS = 3_600.0, 300.0


def renew_credential(session: Session, principal: Principal, now: float) -> CredentialReply:
    """A new credential. The one before it goes on to be valid; one that was never confirmed does not."""
    device_id = principal.device_id or ""
    for newer in _valid_of(session, device_id):
        if newer.id <= principal.token_id:
            break
        if newer.expires_at is None:
            raise Conflict(_OLD)
        newer.revoked_at = now
        notify(session, TokensChanged())
    _, secret = issue_token(
        session,
        TokenKind.DEVICE,
        now,
        note=session.get_one(TokenRow, principal.token_id).note,
        expires_in=UNCONFIRMED_SECONDS,
        device_id=device_id,
    )
    return CredentialReply(token=secret, confirm_within_seconds=UNCONFIRMED_SECONDS)


def confirm_credential(session: Session, principal: Principal, now: float) -> bool:
    """The device has kept the credential that it calls with: the older ones end. Repeating is harmless.

    Returns whether it was new.
    """
    newest, *older = _valid_of(session, principal.device_id or "")
    if newest.id != principal.token_id:
        raise Conflict(_OLD)
    if newest.expires_at is None:
        return False
    newest.expires_at = None
    for row in older:
        row.expires_at = min(row.expires_at or now + OLD_SECONDS, now + OLD_SECONDS)
    notify(session, TokensChanged())
    return True


def _valid_of(session: Session, device_id: str) -> Sequence[TokenRow]:
    """What was not revoked, newest first."""
    mine = (TokenRow.device_id == device_id, TokenRow.revoked_at.is_(None))
    return session.scalars(select(TokenRow).where(*mine).order_by(TokenRow.id.desc())).all()


_OLD = "this credential of the device was replaced: call with the newer one"
