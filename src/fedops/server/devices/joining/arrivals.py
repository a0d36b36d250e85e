"""Which devices came in with a join token."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceRead, TokenRead
from fedops.core.errors import NotFound
from fedops.server.access import tokens
from fedops.server.database.tables import DeviceRow
from fedops.server.devices import registry

#: So many are shown of a token that lets in many.
SHOWN = 20


def token_of(session: Session, token_id: int) -> TokenRead:
    """A join token, without its secret. ``NotFound``: there is none of this number."""
    found = next((one for one in tokens.list_tokens(session) if one.id == token_id), None)
    if found is None:
        raise NotFound(f"there is no join token {token_id}")
    return found


def arrived_with(session: Session, token_id: int, now: float) -> list[DeviceRead]:
    """The devices that joined with a token, the newest first."""
    query = select(DeviceRow.id).where(DeviceRow.joined_with == token_id)
    ids = session.scalars(query.order_by(DeviceRow.created_at.desc()).limit(SHOWN))
    return [registry.read_device(session, id_, now) for id_ in ids]
