"""Studies: runs that differ in their seed alone. What FL servers ran on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _studies()
    op.add_column(
        "runs", sa.Column("new_model", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    # As text: SQLite can add a column with its foreign key, but not a foreign key by itself.
    op.execute(
        f"ALTER TABLE runs ADD COLUMN study {_big()} "
        "CONSTRAINT fk_runs_study_studies REFERENCES studies (id)"
    )
    op.create_index(op.f("ix_runs_study"), "runs", ["study"])
    op.add_column("attempts", sa.Column("environment", sa.JSON(none_as_null=True), nullable=True))


def _big() -> str:
    return "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("seeds", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("begun", sa.Integer(), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("config", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("overrides", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_studies_task_tasks")),
        sa.ForeignKeyConstraint(
            ["bundle"], ["bundles.sha256"], name=op.f("fk_studies_bundle_bundles")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_studies_task"), "studies", ["task"])


def downgrade() -> None:
    op.drop_column("attempts", "environment")
    op.drop_index(op.f("ix_runs_study"), "runs")
    op.drop_column("runs", "study")
    op.drop_column("runs", "new_model")
    op.drop_table("studies")
