"""Schedules of tasks, their firings, and what devices say of their data."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import FiringStatus
from fedops.server.database.tables.base import Base, BigId

_WAITING = f"status = '{FiringStatus.WAITING.value}'"


class ScheduleRow(Base):
    """When a task trains by itself, and how."""

    __tablename__ = "schedules"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    #: core.contracts.Trigger.
    trigger: Mapped[dict[str, Any]]
    overrides: Mapped[list[str]]
    devices: Mapped[list[str]]
    #: core.contracts.Promotion.
    promotion: Mapped[dict[str, Any]]
    missed: Mapped[str] = mapped_column(String(10))
    created_at: Mapped[float]
    changed_at: Mapped[float]
    #: By the clock: the next tick, and the last that was seen. None: it goes by none.
    next_at: Mapped[float | None]
    ticked_at: Mapped[float | None]
    #: What it saw at its last run: the bundle, each device's data, how far the drift was.
    seen: Mapped[dict[str, Any]]
    #: How many of its runs in a row were not promoted.
    unpromoted: Mapped[int] = mapped_column(Integer, default=0)
    paused_at: Mapped[float | None]
    paused_why: Mapped[str] = mapped_column(Text, default="")


class FiringRow(Base):
    """A schedule fired, and what became of it."""

    __tablename__ = "firings"
    __table_args__ = (
        # A trigger that comes while a run goes on is remembered once.
        Index(
            "uq_firings_waiting",
            "task",
            "schedule",
            unique=True,
            sqlite_where=text(_WAITING),
            postgresql_where=text(_WAITING),
        ),
        Index("ix_firings_task", "task", "schedule", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"))
    schedule: Mapped[str] = mapped_column(String(63))
    at: Mapped[float]
    why: Mapped[str] = mapped_column(Text)
    status: Mapped[FiringStatus]
    outcome: Mapped[str] = mapped_column(Text, default="")
    #: How many more triggers came while it was waiting.
    more: Mapped[int] = mapped_column(BigInteger, default=0)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    #: What its run made.
    version: Mapped[int | None] = mapped_column(Integer)
    ended_at: Mapped[float | None]


class DataRow(Base):
    """The data of a device for a task, by its own word."""

    __tablename__ = "device_data"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    #: The assignment that looks, whose row goes after a while, and when it was offered.
    assignment: Mapped[str | None] = mapped_column(String(32), index=True)
    asked_at: Mapped[float]
    #: Which version the device was asked about; -1: none.
    asked_version: Mapped[int] = mapped_column(Integer, default=-1)
    #: Why the last look brought nothing.
    problem: Mapped[str] = mapped_column(Text, default="")
    #: core.contracts.DataReport, the newest ...
    report: Mapped[dict[str, Any] | None]
    reported_at: Mapped[float | None]
    #: ... and the first about the version of the newest.
    baseline: Mapped[dict[str, Any] | None]
