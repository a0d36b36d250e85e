"""Devices, and the tasks they take part in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import (
    Enrolment,
)
from fedops.server.database.tables.base import Base


class DeviceRow(Base):
    """An enrolled machine: what was decided about it, and what it last reported."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    #: OpenSSH, without comment.
    public_key: Mapped[str] = mapped_column(String(500))
    #: sha256 of the key itself, whatever text it came in.
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    enrolment: Mapped[Enrolment]
    info: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    decided_at: Mapped[float | None]
    #: What Flower's programs know it by, for good: 63 bits.
    node_number: Mapped[int] = mapped_column(
        BigInteger, server_default="0", unique=True, index=True
    )
    #: When it last called, and until when it counts as present without another call.
    last_heartbeat_at: Mapped[float | None]
    present_until: Mapped[float | None]
    #: Whether the log says it is online. Presence itself follows from ``present_until``.
    noted_online: Mapped[bool] = mapped_column(default=False)
    #: The training client (core.contracts.ProcessReport), as last reported.
    process: Mapped[dict[str, Any]]
    process_at: Mapped[float | None]
    spool_records: Mapped[int] = mapped_column(BigInteger, default=0)
    spool_dropped: Mapped[int] = mapped_column(BigInteger, default=0)
    #: What it asked for that cannot be (core.contracts.Work.problems).
    problems: Mapped[list[str]]
    #: Why it is in quarantine, and whether what it touched is not (devices.enrolment). None: it is not.
    quarantine: Mapped[dict[str, Any] | None]
    #: The only task that it may take part in. None: any.
    only_task: Mapped[str | None] = mapped_column(String(63))
    #: What operators call it beside its name, sorted.
    tags: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    #: The join token that it joined with last.
    joined_with: Mapped[int | None] = mapped_column(BigInteger)


class MembershipRow(Base):
    """A device takes part in a task."""

    __tablename__ = "memberships"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True, index=True)
    since: Mapped[float]


class PresenceRow(Base):
    """A time in which a device was online."""

    __tablename__ = "device_presence"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    since: Mapped[float] = mapped_column(primary_key=True)
    #: When it was heard last. None: it is online.
    until: Mapped[float | None] = mapped_column(index=True)
