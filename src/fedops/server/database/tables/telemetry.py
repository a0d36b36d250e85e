"""Logs and what else devices report."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.server.database.tables.base import Base, BigId


class LogRow(Base):
    """Some lines that a program logged, in the order they came in within their book."""

    __tablename__ = "logs"
    __table_args__ = (
        UniqueConstraint("book", "record_id"),
        Index("ix_logs_book", "book", "id"),
        Index("ix_logs_device_id", "device_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    #: What they are counted against: "run 3", or "device ID" for lines of no run.
    book: Mapped[str] = mapped_column(String(80))
    record_id: Mapped[str] = mapped_column(String(64))
    #: "server_app", "client_manager" or "training_client".
    source: Mapped[str] = mapped_column(String(40))
    run_id: Mapped[int | None] = mapped_column(BigInteger)
    attempt: Mapped[int | None] = mapped_column(Integer)
    round: Mapped[int | None] = mapped_column(BigInteger)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    text: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(Integer)
    at: Mapped[float]


class LogBookRow(Base):
    """How much is kept of the logs of a run or device, and how much had to go."""

    __tablename__ = "log_books"

    book: Mapped[str] = mapped_column(String(80), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    dropped: Mapped[int] = mapped_column(BigInteger, default=0)


class RecordRow(Base):
    """One thing a device reported. The key is what keeps a repeated delivery from counting twice."""

    __tablename__ = "device_records"
    __table_args__ = (
        Index("ix_device_records_run_id_kind", "run_id", "kind"),
        Index("ix_device_records_device_id_kind_at", "device_id", "kind", "at"),
    )

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    run_id: Mapped[int | None] = mapped_column(BigInteger)
    round: Mapped[int | None] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(Text, default="")
    value: Mapped[float | None]
    text: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any]]
    at: Mapped[float]
    received_at: Mapped[float] = mapped_column(index=True)
