"""Which Server Manager leads, as people are told."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.server.database.tables import LeaseRow
from fedops.server.peers.lease import LEASE_SECONDS


@dataclass(frozen=True)
class Leader:
    """The life of the Server Manager that leads or led last, and when it was heard (POSIX seconds)."""

    life: str
    heard_at: float
    #: By the database's clock, as far as the asker's clock goes with it.
    leads: bool


def who_leads(session: Session, now: float) -> Leader | None:
    """None: no lease was ever taken, as on SQLite, where one Server Manager is alone."""
    row = session.scalars(select(LeaseRow).order_by(LeaseRow.until.desc()).limit(1)).first()
    if row is None or not row.until:
        return None
    return Leader(row.holder, row.until - LEASE_SECONDS, row.until > now)
