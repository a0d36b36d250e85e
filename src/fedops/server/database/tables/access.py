"""Users and tokens."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Integer,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import (
    Role,
    TokenKind,
)
from fedops.server.database.tables.base import Base, BigId


class UserRow(Base):
    """A person, or a program that somebody answers for. Kept when removed: its name is given once."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    role: Mapped[Role]
    #: None: all of them.
    tasks: Mapped[list[str] | None]
    #: As argon2 writes it. None: signs in with a token only.
    password: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float]
    disabled_at: Mapped[float | None]
    removed_at: Mapped[float | None]


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
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"), index=True)
    #: Less than the user's own, if it is said.
    role: Mapped[Role | None]
    tasks: Mapped[list[str] | None]
    #: The token that a session or a code was opened with: they end with it.
    opened_with: Mapped[int | None] = mapped_column(BigInteger)
    #: Of a join token: the only task that its devices may take part in, and where they may join from (CIDR).
    for_task: Mapped[str | None] = mapped_column(String(63))
    network: Mapped[str | None] = mapped_column(String(49))
