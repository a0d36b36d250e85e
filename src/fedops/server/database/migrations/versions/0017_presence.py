"""When each device was online; its tags; and the token that it joined with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_presence",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_presence_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("device_id", "since", name=op.f("pk_device_presence")),
    )
    op.create_index(op.f("ix_device_presence_until"), "device_presence", ["until"])
    # Who is online now is so at least since its last call; what was before is not known.
    op.execute(
        "INSERT INTO device_presence (device_id, since) SELECT id, last_heartbeat_at FROM devices"
        " WHERE noted_online AND last_heartbeat_at IS NOT NULL"
    )
    op.add_column("devices", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("devices", sa.Column("joined_with", sa.BigInteger(), nullable=True))
    op.create_index("ix_events_subject", "events", ["subject", "id"])


def downgrade() -> None:
    op.drop_index("ix_events_subject", "events")
    op.drop_column("devices", "joined_with")
    op.drop_column("devices", "tags")
    op.drop_table("device_presence")
