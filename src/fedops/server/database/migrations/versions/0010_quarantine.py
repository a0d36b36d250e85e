"""Quarantined versions and devices, and runs that make a version again without a device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("quarantined_at", sa.Double(), nullable=True))
    op.add_column("model_versions", sa.Column("quarantine", sa.Text(), nullable=True))
    op.add_column("devices", sa.Column("quarantine", sa.JSON(), nullable=True))
    op.add_column("runs", sa.Column("rebuilds", sa.JSON(), nullable=True))


def downgrade() -> None:
    # Whoever was shut out stays so.
    op.execute("UPDATE devices SET enrolment = 'revoked' WHERE enrolment = 'quarantined'")
    # In place: others refer to these tables.
    for table, column in (
        ("runs", "rebuilds"),
        ("devices", "quarantine"),
        ("model_versions", "quarantine"),
        ("model_versions", "quarantined_at"),
    ):
        op.drop_column(table, column)
