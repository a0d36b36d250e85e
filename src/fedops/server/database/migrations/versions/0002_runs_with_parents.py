"""Runs that go on where another ended, and the queue for devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FILES = ("start_model", "start_state")


def upgrade() -> None:
    op.add_column(
        "runs", sa.Column("first_round", sa.Integer(), nullable=False, server_default="1")
    )
    op.add_column("runs", sa.Column("queued_at", sa.Double(), nullable=True))
    for name in _FILES:
        # As text: SQLite can add a column with its foreign key, but not a foreign key by itself.
        op.execute(
            f"ALTER TABLE runs ADD COLUMN {name} VARCHAR(64) "
            f"CONSTRAINT fk_runs_{name}_artifacts REFERENCES artifacts (sha256)"
        )
    op.execute("UPDATE runs SET queued_at = started_at")


def downgrade() -> None:
    with op.batch_alter_table("runs") as table:
        for name in (*_FILES, "queued_at", "first_round"):
            table.drop_column(name)
