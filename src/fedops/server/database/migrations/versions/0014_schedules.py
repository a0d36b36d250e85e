"""Schedules of tasks, their firings, the data of devices. A run knows its schedule, and for whom it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WAITING = "status = 'waiting'"


def upgrade() -> None:
    _schedules()
    _firings()
    _device_data()
    op.add_column("runs", sa.Column("schedule", sa.String(length=63), nullable=True))
    op.add_column("runs", sa.Column("firing", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("devices", sa.JSON(none_as_null=True), nullable=True))
    op.create_index(op.f("ix_runs_firing"), "runs", ["firing"])


def _schedules() -> None:
    op.create_table(
        "schedules",
        _task(),
        sa.Column("name", sa.String(length=63), nullable=False),
        *(_json(name) for name in ("trigger", "overrides", "devices", "promotion")),
        sa.Column("missed", sa.String(length=10), nullable=False),
        *(_time(name, nullable=False) for name in ("created_at", "changed_at")),
        *(_time(name) for name in ("next_at", "ticked_at")),
        _json("seen"),
        sa.Column("unpromoted", sa.Integer(), nullable=False),
        _time("paused_at"),
        sa.Column("paused_why", sa.Text(), nullable=False),
        _of_task("schedules"),
        sa.PrimaryKeyConstraint("task", "name", name=op.f("pk_schedules")),
    )


def _firings() -> None:
    op.create_table(
        "firings",
        sa.Column("id", _ID, nullable=False),
        _task(),
        sa.Column("schedule", sa.String(length=63), nullable=False),
        _time("at", nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("more", sa.BigInteger(), nullable=False),
        sa.Column("run_id", _ID, nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        _time("ended_at"),
        _of_task("firings"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_firings_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_firings_task", "firings", ["task", "schedule", "id"])
    op.create_index(op.f("ix_firings_run_id"), "firings", ["run_id"])
    op.create_index(
        "uq_firings_waiting",
        "firings",
        ["task", "schedule"],
        unique=True,
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )


def _device_data() -> None:
    op.create_table(
        "device_data",
        _task(),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("assignment", sa.String(length=32), nullable=True),
        _time("asked_at", nullable=False),
        sa.Column("asked_version", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        _json("report", nullable=True),
        _time("reported_at"),
        _json("baseline", nullable=True),
        _of_task("device_data"),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_data_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("task", "device_id", name=op.f("pk_device_data")),
    )
    for column in ("device_id", "assignment"):
        op.create_index(op.f(f"ix_device_data_{column}"), "device_data", [column])


def _task() -> sa.Column[str]:
    return sa.Column("task", sa.String(length=63), nullable=False)


def _of_task(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f(f"fk_{table}_task_tasks"))


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)


def _time(name: str, *, nullable: bool = True) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_firing"), "runs")
    for column in ("schedule", "firing", "devices"):
        op.drop_column("runs", column)
    for table in ("device_data", "firings", "schedules"):
        op.drop_table(table)
