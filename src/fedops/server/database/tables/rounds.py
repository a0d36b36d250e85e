"""Rounds, who took part, and what was measured."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import (
    ParticipationStatus,
)
from fedops.server.database.tables.base import Base, BigId


class RoundRow(Base):
    """One round of a run. It counts once ``committed_at`` is set."""

    __tablename__ = "rounds"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    #: The attempt that began it last, and so the one that committed it.
    attempt: Mapped[int] = mapped_column(Integer)
    begun: Mapped[int] = mapped_column(Integer, default=1)
    #: sha256 of the model that its clients were given.
    begun_from: Mapped[str | None] = mapped_column(String(64))
    started_at: Mapped[float]
    committed_at: Mapped[float | None]
    model: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"), index=True)
    strategy_state: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"), index=True)
    #: When its checkpoint was given up by the retention rule. Its numbers stay.
    pruned_at: Mapped[float | None]
    seconds: Mapped[float | None]
    overhead_seconds: Mapped[float | None]
    timing: Mapped[dict[str, float]]
    #: Of the model this round made: on the server's data, and (later known) on the clients.
    metrics: Mapped[dict[str, float]]
    client_metrics: Mapped[dict[str, float]]
    train_metrics: Mapped[dict[str, float]]


class ParticipationRow(Base):
    """A device's part in one round, as tried by one attempt."""

    __tablename__ = "participations"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.round"]),
        # Few of a round's devices, if any, have a reason, and pages ask for those alone.
        Index(
            "ix_participations_reasons",
            "run_id",
            "round",
            sqlite_where=text("reason IS NOT NULL"),
            postgresql_where=text("reason IS NOT NULL"),
        ),
    )

    run_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    status: Mapped[ParticipationStatus]
    selection: Mapped[str] = mapped_column(Text, default="")
    reason: Mapped[str | None] = mapped_column(Text)
    examples: Mapped[int | None] = mapped_column(BigInteger)
    seconds: Mapped[float | None]
    bytes_up: Mapped[int | None] = mapped_column(BigInteger)
    metrics: Mapped[dict[str, float]]


class RunPlaceRow(Base):
    """Which byte of its rounds' pictures is a device's: its place, for as long as the run is known."""

    __tablename__ = "run_places"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    place: Mapped[int] = mapped_column(Integer)


class RoundPictureRow(Base):
    """What pages show of a committed round, without the rows of its clients."""

    __tablename__ = "round_pictures"
    __table_args__ = (ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.round"]),)

    run_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    #: A byte a place (``pictures.cells.Cell``).
    cells: Mapped[bytes] = mapped_column(LargeBinary)
    #: By metric: smallest, 10 %, 25 %, median, 75 %, 90 %, largest of its clients.
    spread: Mapped[dict[str, Any]]
    #: How many updates came in, and how large they were together. Bytes.
    replied: Mapped[int] = mapped_column(Integer, default=0)
    bytes_up: Mapped[int] = mapped_column(BigInteger, default=0)
    #: The clients that took longest (``pictures.round_times``), slowest first.
    slowest: Mapped[list[dict[str, Any]]]


class RoundScoresRow(Base):
    """What the updates of a committed round were worth; until ``scored_at`` is set, how it will be found."""

    __tablename__ = "round_scores"
    __table_args__ = (ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.round"]),)

    run_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    #: As the round's commit fixed it.
    plan: Mapped[dict[str, Any]]
    scored_at: Mapped[float | None]
    method: Mapped[str | None] = mapped_column(Text)
    evaluations: Mapped[int] = mapped_column(Integer, default=0)
    examples: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    note: Mapped[str] = mapped_column(Text, default="")
    basis: Mapped[dict[str, str]]
    #: Of the round's clients, and of all clients after it (contracts ``ClientScore``, ``ClientStanding``).
    scores: Mapped[list[dict[str, Any]]]
    standings: Mapped[list[dict[str, Any]]]
    #: All that the next round's scoring goes on from. Of a task's newest rounds only.
    history: Mapped[dict[str, Any] | None]


class SelectionRow(Base):
    """Whom a try of a round chose, and why; why not the others."""

    __tablename__ = "selections"
    __table_args__ = (ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.round"]),)

    run_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    retry: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[float]
    #: One for each candidate (contract ``SelectionDecision``).
    decisions: Mapped[list[dict[str, Any]]]


class MetricRow(Base):
    """One number, with where it comes from."""

    __tablename__ = "metrics"
    __table_args__ = (Index("ix_metrics_run_id_name", "run_id", "name", "round"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    round: Mapped[int | None] = mapped_column(BigInteger)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"), index=True)
    #: "server", "clients", "training" or "device".
    source: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(Text)
    value: Mapped[float]
    at: Mapped[float]
