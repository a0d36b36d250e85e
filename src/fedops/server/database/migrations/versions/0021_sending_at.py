"""When a device had its result and began to send it: how long a round's clients were on which way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("assignments", sa.Column("sending_at", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("assignments", "sending_at")
