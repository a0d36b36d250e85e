"""What the server keeps of itself: its seal, who leads, who may upload; and whom it tells of what happens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import ChannelKind, NotificationStatus
from fedops.server.database.tables.base import Base, BigId


class MetaRow(Base):
    """Facts about the server itself."""

    __tablename__ = "server_meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class LeaseRow(Base):
    """An office that one of several Server Managers has for a while (PostgreSQL only)."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: The life of the Server Manager that has it.
    holder: Mapped[str] = mapped_column(String(64))
    #: POSIX seconds on the database's clock.
    until: Mapped[float]
    #: Where the holder keeps the stored files: it must be the same place for all.
    files: Mapped[str] = mapped_column(Text, default="")


class UploadSlotRow(Base):
    """Leave to upload the result of an assignment (PostgreSQL only)."""

    __tablename__ = "upload_slots"

    assignment: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: POSIX seconds on the database's clock; then the slot is free again.
    until: Mapped[float]


# --- notifications: no secret is in here -----------------------------------------------------


class NotificationChannelRow(Base):
    """One way to tell somebody: an address, and the rules of what is told there."""

    __tablename__ = "notification_channels"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    kind: Mapped[ChannelKind]
    #: As it may be shown.
    address: Mapped[str] = mapped_column(Text)
    #: The mail server, if it is e-mail.
    mail: Mapped[dict[str, Any]]
    #: It may be reached without encryption.
    unencrypted: Mapped[bool] = mapped_column(Boolean)
    #: The name of the file that holds its secret, in the server's home; "": it has none.
    secret: Mapped[str] = mapped_column(String(100))
    rules: Mapped[list[str]]
    #: So long a run may wait, and a device be away. Minutes.
    waiting_minutes: Mapped[float]
    lost_minutes: Mapped[float]
    #: Whether it is also told when something is over.
    resolved: Mapped[bool] = mapped_column(Boolean)
    enabled: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[float]
    created_by: Mapped[str] = mapped_column(String(63))
    #: What was so before this moment, or this event, is not told.
    since: Mapped[float]
    after_event: Mapped[int] = mapped_column(BigInteger)
    #: After a try that failed nothing is sent for a while.
    not_before: Mapped[float]
    #: When something was last sent or failed, and why it failed; "": it was sent.
    last_at: Mapped[float | None]
    last_problem: Mapped[str] = mapped_column(Text)


class NotificationRow(Base):
    """A message for one channel. Its key is what keeps one thing from being told twice."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("channel_id", "key"),
        Index("ix_notifications_status", "status", "next_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("notification_channels.id"))
    key: Mapped[str] = mapped_column(String(250))
    #: The same at every try: a receiver can tell a repetition by it.
    delivery: Mapped[str] = mapped_column(String(32))
    #: A rule, or "test".
    rule: Mapped[str] = mapped_column(String(40))
    #: What was told of is over.
    over: Mapped[bool] = mapped_column(Boolean)
    subject: Mapped[str] = mapped_column(Text)
    task: Mapped[str | None] = mapped_column(String(63))
    run_id: Mapped[int | None] = mapped_column(BigInteger)
    device: Mapped[str | None] = mapped_column(String(63))
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    sentence: Mapped[str] = mapped_column(Text)
    #: The path of the page that shows more, and the command that does.
    page: Mapped[str] = mapped_column(Text)
    command: Mapped[str] = mapped_column(Text)
    #: When it happened, and when it was found.
    at: Mapped[float]
    created_at: Mapped[float]
    status: Mapped[NotificationStatus]
    attempts: Mapped[int] = mapped_column(Integer)
    next_at: Mapped[float]
    #: Who sends it now, and until when nobody else does.
    claim: Mapped[str | None] = mapped_column(String(32))
    claimed_until: Mapped[float | None]
    ended_at: Mapped[float | None]
    problem: Mapped[str] = mapped_column(Text)


class OpenOccurrenceRow(Base):
    """Something that lasts, which a channel was told of."""

    __tablename__ = "notification_occurrences"

    channel_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("notification_channels.id"), primary_key=True
    )
    #: The same as long as it lasts.
    key: Mapped[str] = mapped_column(String(250), primary_key=True)
    rule: Mapped[str] = mapped_column(String(40))
    since: Mapped[float]
