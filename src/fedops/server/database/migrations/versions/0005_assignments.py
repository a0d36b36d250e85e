"""Work for devices as rows. What belonged to Flower's SuperLink goes; what lived there is lost."""

from __future__ import annotations

import secrets
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OPEN = sa.text("status IN ('accepted', 'offered', 'working')")
_KEPT = sa.text("delivered_at IS NOT NULL AND pruned_at IS NULL")
_KEY = ["run_id", "round", "device_id", "kind"]
_GONE: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("devices", "node_id", sa.String(length=32)),
    ("runs", "queued_at", sa.Double()),
    ("attempts", "engine_run_id", sa.String(length=32)),
    ("attempts", "generation", sa.Integer()),
)
_INDEXED = {("devices", "node_id"), ("attempts", "engine_run_id")}
_ATTEMPTS = sa.table(
    "attempts", *map(sa.column, ("id", "run_id", "number", "status", "reason", "ended_at"))
)
_RUNS = sa.table(
    "runs", *map(sa.column, ("id", "status", "status_since", "text", "current_attempt"))
)
_EVENTS = sa.table(
    "events",
    *map(sa.column, ("at", "who", "subject", "name", "text", "run_id")),
    sa.column("data", sa.JSON(none_as_null=True)),
)
_WHY = "FedOps was upgraded: its engine is another one now"


def upgrade() -> None:
    _number_devices()
    op.add_column("rounds", sa.Column("begun_from", sa.String(length=64), nullable=True))
    _instructions()
    _assignments()
    _lose_attempts()
    op.drop_table("run_devices")
    for table, column, _ in _GONE:
        if (table, column) in _INDEXED:
            op.drop_index(op.f(f"ix_{table}_{column}"), table)
        op.drop_column(table, column)


def downgrade() -> None:
    for table, column, kind in _GONE:
        op.add_column(table, sa.Column(column, kind, nullable=True))
        if (table, column) in _INDEXED:
            op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    _run_devices()
    op.drop_table("assignments")
    op.drop_table("instructions")
    op.drop_column("rounds", "begun_from")
    op.drop_index(op.f("ix_devices_node_number"), "devices")
    for column in ("node_number", "present_until"):
        op.drop_column("devices", column)


def _number_devices() -> None:
    op.add_column("devices", sa.Column("present_until", sa.Double(), nullable=True))
    number = sa.Column("node_number", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("devices", number)
    devices = sa.table(
        "devices", sa.column("id", sa.String), sa.column("node_number", sa.BigInteger)
    )
    connection = op.get_bind()
    for device_id in connection.scalars(sa.select(devices.c.id)).all():
        made = secrets.randbits(62) | 1 << 62
        where = devices.c.id == device_id
        connection.execute(sa.update(devices).where(where).values(node_number=made))
    op.create_index(op.f("ix_devices_node_number"), "devices", ["node_number"], unique=True)


def _lose_attempts() -> None:
    """What lived was executed by the engine of before: its run goes on in a new attempt."""
    now = time.time()
    lost = sa.select(_ATTEMPTS).where(_ATTEMPTS.c.status.in_(("starting", "running")))
    for attempt in op.get_bind().execute(lost).all():
        subject = f"attempt {attempt.number} of run {attempt.run_id}"
        _move(_ATTEMPTS, attempt, subject, attempt.run_id, "lost", now, reason=_WHY, ended_at=now)
    left = sa.select(_RUNS).where(_RUNS.c.status.in_(("starting", "running")))
    for run in op.get_bind().execute(left).all():
        text = f"attempt {run.current_attempt} was lost: {_WHY}"
        _move(_RUNS, run, f"run {run.id}", run.id, "resuming", now, text=text, status_since=now)


def _move(
    table: sa.TableClause,
    row: Any,
    subject: str,
    run_id: int,
    new: str,
    now: float,
    **values: object,
) -> None:
    """Take a row to a state, and log it as the server does."""
    connection = op.get_bind()
    where = table.c.id == row.id
    connection.execute(sa.update(table).where(where).values(status=new, **values))
    event = {
        "at": now,
        "who": "server",
        "subject": subject,
        "name": f"{subject.split()[0]}.{new}",
        "text": _WHY,
        "data": {"before": row.status, "after": new},
        "run_id": run_id,
    }
    connection.execute(sa.insert(_EVENTS).values(event))


def _instructions() -> None:
    op.create_table(
        "instructions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_instructions_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instructions")),
    )
    op.create_index(op.f("ix_instructions_run_id"), "instructions", ["run_id"])


def _assignments() -> None:
    op.create_table(
        "assignments",
        *_what(),
        *_when(),
        *_result(),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_assignments_device_id_devices")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_assignments_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["instruction"],
            ["instructions.id"],
            name=op.f("fk_assignments_instruction_instructions"),
        ),
        sa.ForeignKeyConstraint(
            ["blob"], ["artifacts.sha256"], name=op.f("fk_assignments_blob_artifacts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
    )
    op.create_index("ix_assignments_run_id", "assignments", ["run_id", "round"])
    for column in ("device_id", "blob"):
        op.create_index(op.f(f"ix_assignments_{column}"), "assignments", [column])
    op.create_index(
        "ix_assignments_kept",
        "assignments",
        ["run_id"],
        sqlite_where=_KEPT,
        postgresql_where=_KEPT,
    )
    op.create_index(
        "uq_assignments_open",
        "assignments",
        _KEY,
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )


def _what() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("retry", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.String(length=200), nullable=False),
        sa.Column("work_key", sa.String(length=200), nullable=False),
        sa.Column("instruction", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=True),
        sa.Column("encodings", sa.JSON(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=True),
        sa.Column("evaluates", sa.Boolean(), nullable=False),
    ]


def _when() -> list[sa.Column[object]]:
    return [
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("offered_at", sa.Double(), nullable=False),
        sa.Column("deadline_at", sa.Double(), nullable=False),
        sa.Column("upload_grace", sa.Double(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=True),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("released_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(length=40), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("stage_text", sa.Text(), nullable=False),
    ]


def _result() -> list[sa.Column[object]]:
    return [
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("encoding", sa.String(length=40), nullable=False),
        sa.Column("decoded_sha256", sa.String(length=64), nullable=True),
        sa.Column("decoded_size", sa.BigInteger(), nullable=True),
        sa.Column("pruned_at", sa.Double(), nullable=True),
    ]


def _run_devices() -> None:
    op.create_table(
        "run_devices",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("quiet_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_run_devices_device_id_devices")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_devices_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "device_id", name=op.f("pk_run_devices")),
    )
    op.create_index(op.f("ix_run_devices_device_id"), "run_devices", ["device_id"])
