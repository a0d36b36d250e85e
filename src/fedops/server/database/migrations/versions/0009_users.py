"""Users with roles; the admin token becomes the personal token of the first of them; who did what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TOKEN_COLUMNS = ("user_id", "role", "tasks", "opened_with")
_EVENT_COLUMNS = ("by_user", "by_token", "by_address")
_USER_INDEX = "ix_tokens_user_id"


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("tasks", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("disabled_at", sa.Double(), nullable=True),
        sa.Column("removed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    # As text: SQLite can add a column with its foreign key, but not a foreign key by itself.
    op.execute(
        "ALTER TABLE tokens ADD COLUMN user_id BIGINT "
        "CONSTRAINT fk_tokens_user_id_users REFERENCES users (id)"
    )
    op.create_index(_USER_INDEX, "tokens", ["user_id"])
    op.add_column("tokens", sa.Column("role", sa.String(length=40), nullable=True))
    op.add_column("tokens", sa.Column("tasks", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("tokens", sa.Column("opened_with", sa.BigInteger(), nullable=True))
    op.add_column("events", sa.Column("by_user", sa.String(length=63), nullable=True))
    op.add_column("events", sa.Column("by_token", sa.BigInteger(), nullable=True))
    op.add_column("events", sa.Column("by_address", sa.String(length=64), nullable=True))
    op.execute(
        "INSERT INTO users (name, role, created_at) SELECT 'admin', 'admin', min(created_at) "
        "FROM tokens WHERE kind = 'admin' HAVING count(*) > 0"
    )
    op.execute(
        "UPDATE tokens SET kind = 'personal', user_id = (SELECT id FROM users WHERE name = 'admin') "
        "WHERE kind = 'admin'"
    )


def downgrade() -> None:
    op.execute("DELETE FROM tokens WHERE kind IN ('session', 'code')")
    op.execute(
        "DELETE FROM tokens WHERE kind = 'personal' AND (role IS NOT NULL OR tasks IS NOT NULL "
        "OR user_id NOT IN (SELECT id FROM users WHERE role = 'admin' AND tasks IS NULL "
        "AND disabled_at IS NULL AND removed_at IS NULL))"
    )
    op.execute("UPDATE tokens SET kind = 'admin' WHERE kind = 'personal'")
    op.drop_index(_USER_INDEX, "tokens")
    with op.batch_alter_table("tokens") as table:
        for name in _TOKEN_COLUMNS:
            table.drop_column(name)
    with op.batch_alter_table("events") as table:
        for name in _EVENT_COLUMNS:
            table.drop_column(name)
    op.drop_table("users")
