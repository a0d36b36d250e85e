"""The database, table by table. SQL on them lives in the use-case modules beside this one.

Times are POSIX seconds, durations seconds. What is derived (presence, "active") is not stored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fedops.core.states import (
    ASSIGNMENT_OPEN,
    AssignmentStatus,
    AttemptStatus,
    Enrolment,
    FailureReason,
    ParticipationStatus,
    RunStatus,
    TaskStatus,
    TokenKind,
)

_OPEN = ", ".join(sorted(f"'{status.value}'" for status in ASSIGNMENT_OPEN))
_KEPT = "delivered_at IS NOT NULL AND pruned_at IS NULL"
#: SQLite counts up only columns declared INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


def _enum(kind: type[StrEnum]) -> Enum:
    """A text column that holds the values of an enumeration."""
    return Enum(kind, native_enum=False, length=40, values_callable=lambda e: [m.value for m in e])


class Base(DeclarativeBase):
    """Naming all constraints lets a migration change them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own interface)
        float: Double(),
        dict[str, Any]: JSON(none_as_null=True),
        dict[str, str]: JSON(none_as_null=True),
        dict[str, float]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        TokenKind: _enum(TokenKind),
        RunStatus: _enum(RunStatus),
        AttemptStatus: _enum(AttemptStatus),
        AssignmentStatus: _enum(AssignmentStatus),
        Enrolment: _enum(Enrolment),
        FailureReason: _enum(FailureReason),
        ParticipationStatus: _enum(ParticipationStatus),
        TaskStatus: _enum(TaskStatus),
    }


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


class MembershipRow(Base):
    """A device takes part in a task."""

    __tablename__ = "memberships"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True, index=True)
    since: Mapped[float]


class ArtifactRow(Base):
    """A stored file, named by its content. The bytes are in the artifact store."""

    __tablename__ = "artifacts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    #: When the same content was last uploaded again: somebody is about to use it.
    renewed_at: Mapped[float | None]
    #: Set when nothing needed it any more and its file was removed.
    removed_at: Mapped[float | None]


class RemovalRow(Base):
    """A file that a run's retention rule gave up. It is removed unless something else needs it."""

    __tablename__ = "removals"

    sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"), primary_key=True)
    since: Mapped[float]


class BundleRow(Base):
    """An app that was uploaded and found to be one."""

    __tablename__ = "bundles"

    sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"), primary_key=True)
    package: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text, default="")
    #: The Git commit its files were at, as far as known.
    commit: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[float]


class TaskRow(Base):
    """What is to be learned."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    status: Mapped[TaskStatus]
    description: Mapped[str] = mapped_column(Text, default="")
    bundle: Mapped[str] = mapped_column(ForeignKey("bundles.sha256"))
    overrides: Mapped[list[str]]
    #: The config with the overrides, secrets redacted.
    config: Mapped[dict[str, Any]]
    #: The number the next global model version gets. Only ever counted up.
    next_version: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[float]
    updated_at: Mapped[float]


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
    first_round: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    start_model: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"))
    start_state: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"))
    contract: Mapped[dict[str, Any] | None]
    dataset: Mapped[str | None] = mapped_column(Text)
    #: Devices that may not take part, by name, with the reason.
    refused: Mapped[dict[str, str]]
    #: Of the newest model, as far as known.
    metrics: Mapped[dict[str, float]]
    current_attempt: Mapped[int] = mapped_column(Integer, default=0)
    #: Attempts lost in a row without a committed round.
    lost_in_a_row: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]


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
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    #: When the engine was told to end what is left of it.
    cleared_at: Mapped[float | None]


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
    __table_args__ = (ForeignKeyConstraint(["run_id", "round"], ["rounds.run_id", "rounds.round"]),)

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


class ModelVersionRow(Base):
    """A global model version. Never changed, never removed."""

    __tablename__ = "model_versions"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    round: Mapped[int] = mapped_column(Integer)
    parent: Mapped[int | None] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"))
    strategy_state: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"))
    contract: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, float]]
    lineage: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class AliasRow(Base):
    """A movable name for a version."""

    __tablename__ = "aliases"
    __table_args__ = (
        ForeignKeyConstraint(
            ["task", "version"], ["model_versions.task", "model_versions.version"]
        ),
    )

    task: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    moved_at: Mapped[float]


class AliasMoveRow(Base):
    """Where an alias was moved to, and by whom. ``undone_at``: a rollback took it back."""

    __tablename__ = "alias_moves"
    __table_args__ = (
        Index("ix_alias_moves_task_name", "task", "name", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"))
    name: Mapped[str] = mapped_column(String(63))
    version: Mapped[int] = mapped_column(Integer)
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[float]
    undone_at: Mapped[float | None]


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


class EventRow(Base):
    """What happened. Only ever appended to."""

    __tablename__ = "events"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[float]
    who: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any]]
    run_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
