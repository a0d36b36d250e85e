"""Logs, the retention of checkpoints, and where aliases were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("renewed_at", sa.Double(), nullable=True))
    op.add_column("artifacts", sa.Column("removed_at", sa.Double(), nullable=True))
    op.add_column("bundles", sa.Column("commit", sa.String(length=80), nullable=True))
    op.add_column("rounds", sa.Column("pruned_at", sa.Double(), nullable=True))
    for column in ("model", "strategy_state"):
        op.create_index(op.f(f"ix_rounds_{column}"), "rounds", [column])
    _removals()
    _alias_moves()
    _logs()
    # An alias that is there was moved to where it is.
    op.execute(
        "INSERT INTO alias_moves (task, name, version, who, at) "
        "SELECT task, name, version, 'server', moved_at FROM aliases"
    )


def downgrade() -> None:
    for table in ("log_books", "logs", "alias_moves", "removals"):
        op.drop_table(table)
    for column in ("model", "strategy_state"):
        op.drop_index(op.f(f"ix_rounds_{column}"), "rounds")
    for table, columns in (
        ("rounds", ["pruned_at"]),
        ("bundles", ["commit"]),
        ("artifacts", ["removed_at", "renewed_at"]),
    ):
        for column in columns:
            op.drop_column(table, column)


def _removals() -> None:
    op.create_table(
        "removals",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["artifacts.sha256"], name=op.f("fk_removals_sha256_artifacts")
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_removals")),
    )


def _alias_moves() -> None:
    op.create_table(
        "alias_moves",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("undone_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_alias_moves_task_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_moves")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alias_moves_task_name", "alias_moves", ["task", "name", "id"])


def _logs() -> None:
    op.create_table(
        "logs",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("book", sa.String(length=80), nullable=False),
        sa.Column("record_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("round", sa.BigInteger(), nullable=True),
        sa.Column("device_id", sa.String(length=32), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_logs_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logs")),
        sa.UniqueConstraint("book", "record_id", name=op.f("uq_logs_book")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_logs_book", "logs", ["book", "id"])
    op.create_index("ix_logs_device_id", "logs", ["device_id", "id"])
    op.create_table(
        "log_books",
        sa.Column("book", sa.String(length=80), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", name=op.f("pk_log_books")),
    )
