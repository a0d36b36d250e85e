"""Who is told of what happens, and the messages on their way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_channels()
    _create_messages()
    _create_occurrences()


def _create_channels() -> None:
    op.create_table(
        "notification_channels",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("mail", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("unencrypted", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("rules", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("waiting_minutes", sa.Double(), nullable=False),
        sa.Column("lost_minutes", sa.Double(), nullable=False),
        sa.Column("resolved", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=63), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("after_event", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=True),
        sa.Column("last_problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_channels")),
        sa.UniqueConstraint("name", name=op.f("uq_notification_channels_name")),
    )


def _create_messages() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("delivery", sa.String(length=32), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("task", sa.String(length=63), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("device", sa.String(length=63), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("claim", sa.String(length=32), nullable=True),
        sa.Column("claimed_until", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["notification_channels.id"],
            name=op.f("fk_notifications_channel_id_notification_channels"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("channel_id", "key", name=op.f("uq_notifications_channel_id")),
    )
    op.create_index("ix_notifications_status", "notifications", ["status", "next_at"])


def _create_occurrences() -> None:
    op.create_table(
        "notification_occurrences",
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["notification_channels.id"],
            name=op.f("fk_notification_occurrences_channel_id_notification_channels"),
        ),
        sa.PrimaryKeyConstraint("channel_id", "key", name=op.f("pk_notification_occurrences")),
    )


def downgrade() -> None:
    op.drop_table("notification_occurrences")
    op.drop_index("ix_notifications_status", "notifications")
    op.drop_table("notifications")
    op.drop_table("notification_channels")
