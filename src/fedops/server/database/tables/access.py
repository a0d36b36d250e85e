"""Tokens."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
    Integer,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import (
    TokenKind,
)
from fedops.server.database.tables.base import Base, BigId


class TokenRow(Base):
    """A credential. Only the hash of its secret is kept."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[TokenKind]
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    note: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    uses_left: Mapped[int | None] = mapped_column(Integer)
    revoked_at: Mapped[float | None]
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"), index=True)
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempts.id"), index=True)
    #: Of a join token: the only task that its devices may take part in, and where they may join from (CIDR).
    for_task: Mapped[str | None] = mapped_column(String(63))
    network: Mapped[str | None] = mapped_column(String(49))
