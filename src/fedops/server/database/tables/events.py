"""What happened, for people."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.server.database.tables.base import Base, BigId


class EventRow(Base):
    """What happened. Only ever appended to."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_subject", "subject", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[float]
    who: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any]]
    run_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    #: The person whose call it happened in, with which token, from where.
    by_user: Mapped[str | None] = mapped_column(String(63))
    by_token: Mapped[int | None] = mapped_column(BigInteger)
    by_address: Mapped[str | None] = mapped_column(String(64))
