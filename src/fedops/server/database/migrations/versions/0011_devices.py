"""What a join token is bound to, and the task that a device which joined with it is bound to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("for_task", sa.String(length=63), nullable=True))
    op.add_column("tokens", sa.Column("network", sa.String(length=49), nullable=True))
    op.add_column("devices", sa.Column("only_task", sa.String(length=63), nullable=True))


def downgrade() -> None:
    op.drop_column("devices", "only_task")
    op.drop_column("tokens", "network")
    op.drop_column("tokens", "for_task")
