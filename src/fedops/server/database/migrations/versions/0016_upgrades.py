"""The server's release of FedOps on its way to devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "upgrades",
        sa.Column("id", number, nullable=False),
        sa.Column("release", sa.String(length=64), nullable=False),
        sa.Column("live", sa.Integer(), nullable=True),
        sa.Column("everyone", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("status_since", sa.Double(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("wave_since", sa.Double(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upgrades")),
        sa.UniqueConstraint("live", name=op.f("uq_upgrades_live")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "device_upgrades",
        sa.Column("upgrade", number, nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upgrade"], ["upgrades.id"], name=op.f("fk_device_upgrades_upgrade_upgrades")
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_upgrades_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("upgrade", "device_id", name=op.f("pk_device_upgrades")),
    )
    op.create_index(op.f("ix_device_upgrades_device_id"), "device_upgrades", ["device_id"])


def downgrade() -> None:
    op.drop_table("device_upgrades")
    op.drop_table("upgrades")
