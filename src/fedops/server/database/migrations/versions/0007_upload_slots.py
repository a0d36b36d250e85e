"""Who may upload now, where several processes serve one database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload_slots",
        sa.Column("assignment", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("assignment", name=op.f("pk_upload_slots")),
    )


def downgrade() -> None:
    op.drop_table("upload_slots")
