"""Runs, the attempts at them, and the studies that runs are parts of."""

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
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import (
    AttemptStatus,
    FailureReason,
    RunStatus,
)
from fedops.server.database.tables.base import Base, BigId


class RunRow(Base):
    """One execution of a task, with all it was started with."""

    __tablename__ = "runs"
    __table_args__ = (
        # One task has at most one run that is not over.
        Index(
            "uq_runs_active_task",
            "task",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), index=True)
    status: Mapped[RunStatus]
    status_since: Mapped[float]
    reason: Mapped[FailureReason | None]
    #: How it ended, or why it goes on as it does, in words.
    text: Mapped[str] = mapped_column(Text, default="")
    bundle: Mapped[str] = mapped_column(ForeignKey("bundles.sha256"))
    config: Mapped[dict[str, Any]]
    overrides: Mapped[list[str]]
    seed: Mapped[int] = mapped_column(BigInteger)
    rounds: Mapped[int] = mapped_column(Integer)
    committed_rounds: Mapped[int] = mapped_column(Integer, default=0)
    #: The version it starts from; None until V0 is made.
    from_version: Mapped[int | None] = mapped_column(Integer)
    #: The version it made.
    version: Mapped[int | None] = mapped_column(Integer)
    #: The run that it extends or retries, its first own round, and what it found there.
    parent: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    #: The study that it belongs to.
    study: Mapped[int | None] = mapped_column(ForeignKey("studies.id"), index=True)
    #: The schedule of the task that began it, and its firing.
    schedule: Mapped[str | None] = mapped_column(String(63))
    firing: Mapped[int | None] = mapped_column(BigInteger, index=True)
    #: Names or patterns of the devices that it is for. None: all of the task.
    devices: Mapped[list[str] | None]
    #: It begins with an initial model of its own, made from its seed, and not with a version.
    new_model: Mapped[bool] = mapped_column(default=False, server_default=false())
    first_round: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    start_model: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"))
    start_state: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"))
    contract: Mapped[dict[str, Any] | None]
    dataset: Mapped[str | None] = mapped_column(Text)
    #: Which version it makes again, and without whom (runs.rebuilding). None: it is no such run.
    rebuilds: Mapped[dict[str, Any] | None]
    #: Devices that may not take part, by name, with the reason.
    refused: Mapped[dict[str, str]]
    #: Of the newest model, as far as known.
    metrics: Mapped[dict[str, float]]
    current_attempt: Mapped[int] = mapped_column(Integer, default=0)
    #: Attempts lost in a row without a committed round.
    lost_in_a_row: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None] = mapped_column(index=True)


class AttemptRow(Base):
    """One FL server that executes (part of) a run."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("run_id", "number"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    status: Mapped[AttemptStatus]
    #: Its process.
    pid: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(Text)
    #: What the engine is doing (core.contracts.EngineProgress), and since when.
    progress: Mapped[dict[str, Any] | None]
    progress_at: Mapped[float | None]
    #: What its FL server ran on: Python, platform, versions of libraries.
    environment: Mapped[dict[str, str] | None]
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    #: When the engine was told to end what is left of it.
    cleared_at: Mapped[float | None]


class StudyRow(Base):
    """Runs of one task that differ in their seed alone, begun one after another."""

    __tablename__ = "studies"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), index=True)
    seeds: Mapped[list[int]]
    #: How many of the seeds have a run.
    begun: Mapped[int] = mapped_column(Integer, default=0)
    bundle: Mapped[str] = mapped_column(ForeignKey("bundles.sha256"))
    config: Mapped[dict[str, Any]]
    overrides: Mapped[list[str]]
    #: The version that each run starts from. None: each makes an initial model from its seed.
    from_version: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[float]
    #: From when on it begins no more runs, and why.
    closed_at: Mapped[float | None]
    text: Mapped[str] = mapped_column(Text, default="")
