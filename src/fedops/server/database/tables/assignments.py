"""What devices are asked to do, and what they delivered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import (
    ASSIGNMENT_OPEN,
    AssignmentStatus,
)
from fedops.server.database.tables.base import Base

_OPEN = ", ".join(sorted(f"'{status.value}'" for status in ASSIGNMENT_OPEN))


_KEPT = "delivered_at IS NOT NULL AND pruned_at IS NULL"


class InstructionRow(Base):
    """What devices are to do, as a payload document: once for all that are told the same."""

    __tablename__ = "instructions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    #: JSON, as it is sent.
    content: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float]


class AssignmentRow(Base):
    """One piece of work for one device, and what became of it."""

    __tablename__ = "assignments"
    __table_args__ = (
        # One try of a device and kind at a time.
        Index(
            "uq_assignments_open",
            "run_id",
            "round",
            "device_id",
            "kind",
            unique=True,
            sqlite_where=text(f"status IN ({_OPEN})"),
            postgresql_where=text(f"status IN ({_OPEN})"),
        ),
        Index("ix_assignments_run_id", "run_id", "round"),
        Index(
            "ix_assignments_kept",
            "run_id",
            sqlite_where=text(_KEPT),
            postgresql_where=text(_KEPT),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    kind: Mapped[str] = mapped_column(String(100))
    task: Mapped[str] = mapped_column(String(63))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    #: The attempt that offered it. Later ones take it over.
    attempt: Mapped[int | None] = mapped_column(Integer)
    round: Mapped[int | None] = mapped_column(Integer)
    retry: Mapped[int] = mapped_column(Integer, default=0)
    group_id: Mapped[str] = mapped_column(String(200), default="")
    work_key: Mapped[str] = mapped_column(String(200), default="")
    instruction: Mapped[str] = mapped_column(ForeignKey("instructions.id"))
    #: sha256 of the model that the work begins from.
    model: Mapped[str | None] = mapped_column(String(64))
    encodings: Mapped[list[str]]
    max_bytes: Mapped[int | None] = mapped_column(BigInteger)
    evaluates: Mapped[bool] = mapped_column(default=False)

    status: Mapped[AssignmentStatus]
    offered_at: Mapped[float]
    deadline_at: Mapped[float]
    #: How long it lasts beyond its deadline for a device that waits for its turn to upload, or does. Seconds.
    upload_grace: Mapped[float]
    accepted_at: Mapped[float | None]
    #: Since when the device has had the result and sends it, or waits to.
    sending_at: Mapped[float | None]
    delivered_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    #: When the device let go of what the server had ended.
    released_at: Mapped[float | None]
    reason: Mapped[str] = mapped_column(Text, default="")
    code: Mapped[int] = mapped_column(BigInteger, default=0)

    #: What the device said last (core.contracts.Stage).
    stage: Mapped[str] = mapped_column(String(40), default="waiting")
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    stage_text: Mapped[str] = mapped_column(Text, default="")

    #: The result: a blob, or the file itself when it is small.
    blob: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"), index=True)
    inline: Mapped[bytes | None] = mapped_column(LargeBinary)
    size: Mapped[int | None] = mapped_column(BigInteger)
    encoding: Mapped[str] = mapped_column(String(40), default="none")
    decoded_sha256: Mapped[str | None] = mapped_column(String(64))
    decoded_size: Mapped[int | None] = mapped_column(BigInteger)
    #: When its result was given up by the retention rule.
    pruned_at: Mapped[float | None]


class BenchRow(Base):
    """The last benchmark of a device for a task, and the last estimate that one gave."""

    __tablename__ = "benches"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    #: The assignment, whose row goes after a while.
    assignment: Mapped[str] = mapped_column(String(32), index=True)
    fraction: Mapped[float]
    asked_at: Mapped[float]
    #: How the assignment was offered or ended, and why without a result.
    status: Mapped[AssignmentStatus]
    reason: Mapped[str] = mapped_column(Text, default="")

    #: The last result (``core.contracts.BenchMeasured``), maybe of an earlier one.
    measured: Mapped[dict[str, Any] | None]
    measured_at: Mapped[float | None]
    round_seconds: Mapped[float | None]
