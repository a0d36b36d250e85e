"""Telemetry is read by device and time."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NAME = "ix_device_records_device_id_kind_at"


def upgrade() -> None:
    op.create_index(_NAME, "device_records", ["device_id", "kind", "at"])


def downgrade() -> None:
    op.drop_index(_NAME, "device_records")
