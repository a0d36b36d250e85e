"""Devices that serve the model of a task."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "serving",
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("alias", sa.String(length=63), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=True),
        sa.Column("active", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("status_since", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("stalled", sa.Boolean(), nullable=False),
        sa.Column("reported_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_serving_task_tasks")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_serving_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("task", "device_id", name=op.f("pk_serving")),
    )
    op.create_index(op.f("ix_serving_device_id"), "serving", ["device_id"])
    op.create_index("ix_serving_task_alias", "serving", ["task", "alias"])


def downgrade() -> None:
    op.drop_table("serving")
