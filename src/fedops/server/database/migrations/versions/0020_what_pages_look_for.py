"""What pages look for without reading whole tables: runs by their end, and why devices did not count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_runs_ended_at"), "runs", ["ended_at"])
    op.create_index(
        "ix_participations_reasons",
        "participations",
        ["run_id", "round"],
        sqlite_where=sa.text("reason IS NOT NULL"),
        postgresql_where=sa.text("reason IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_participations_reasons", "participations")
    op.drop_index(op.f("ix_runs_ended_at"), "runs")
