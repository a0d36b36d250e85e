"""What updates were worth, every decision on whom a round chose, and benchmarks of devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "round_scores",
        _big("run_id"),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("plan", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("scored_at", sa.Double(), nullable=True),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("evaluations", sa.Integer(), nullable=False),
        sa.Column("examples", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.JSON(none_as_null=True), nullable=False)
            for name in ("basis", "scores", "standings")
        ),
        sa.Column("history", sa.JSON(none_as_null=True), nullable=True),
        _of_round("round_scores"),
        sa.PrimaryKeyConstraint("run_id", "round", name=op.f("pk_round_scores")),
    )
    op.create_table(
        "selections",
        _big("run_id"),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("retry", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("decisions", sa.JSON(none_as_null=True), nullable=False),
        _of_round("selections"),
        sa.PrimaryKeyConstraint("run_id", "round", "attempt", "retry", name=op.f("pk_selections")),
    )
    _benches()


def _benches() -> None:
    op.create_table(
        "benches",
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("assignment", sa.String(length=32), nullable=False),
        sa.Column("fraction", sa.Double(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("measured", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("measured_at", sa.Double(), nullable=True),
        sa.Column("round_seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_benches_task_tasks")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_benches_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("task", "device_id", name=op.f("pk_benches")),
    )
    for column in ("device_id", "assignment"):
        op.create_index(op.f(f"ix_benches_{column}"), "benches", [column])


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def _of_round(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id", "round"],
        ["rounds.run_id", "rounds.round"],
        name=op.f(f"fk_{table}_run_id_rounds"),
    )


def downgrade() -> None:
    op.drop_table("benches")
    op.drop_table("selections")
    op.drop_table("round_scores")
