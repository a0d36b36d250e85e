"""Sources of tasks, their commits, rollouts and deployments. A task may wait for its first sound commit."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_STRICT, _LOOSE = "bundle VARCHAR(64) NOT NULL", "bundle VARCHAR(64)"


def upgrade() -> None:
    _let_bundle_be_null(True)
    _sources()
    _commits()
    _rollouts()
    _deployments()
    op.create_table(
        "hooks",
        _task(),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _of_task("hooks"),
        sa.PrimaryKeyConstraint("task", "digest", name=op.f("pk_hooks")),
    )
    op.create_index(op.f("ix_hooks_at"), "hooks", ["at"])


def _let_bundle_be_null(may: bool) -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.alter_column("tasks", "bundle", existing_type=sa.String(length=64), nullable=may)
        return
    # The way that SQLite documents to take out a NOT NULL: a copy of the table would break the foreign keys.
    version = connection.execute(sa.text("PRAGMA schema_version")).scalar_one()
    before, after = (_STRICT, _LOOSE) if may else (_LOOSE, _STRICT)
    for said in (
        "PRAGMA writable_schema=ON",
        f"UPDATE sqlite_master SET sql = replace(sql, '{before}', '{after}') "
        "WHERE type = 'table' AND name = 'tasks'",
        f"PRAGMA schema_version={version + 1}",
        "PRAGMA writable_schema=OFF",
    ):
        connection.execute(sa.text(said))


def _sources() -> None:
    op.create_table(
        "sources",
        _task(),
        *(_text(name) for name in ("url", "ref", "subfolder")),
        sa.Column("poll_seconds", sa.Double(), nullable=False),
        _json("policy"),
        _commit("commit", nullable=True),
        _commit("pinned", nullable=True),
        sa.Column("looked_at", sa.Double(), nullable=True),
        sa.Column("look_at", sa.Double(), nullable=True),
        _text("problem"),
        sa.Column("changed_at", sa.Double(), nullable=False),
        _of_task("sources"),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_sources")),
    )


def _commits() -> None:
    op.create_table(
        "commits",
        _id(),
        _task(),
        _commit("commit"),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("status_since", sa.Double(), nullable=False),
        *(_text(name) for name in ("reason", "subject", "author")),
        sa.Column("authored_at", sa.Double(), nullable=True),
        sa.Column("seen_at", sa.Double(), nullable=False),
        _text("subfolder"),
        _commit("bundle", nullable=True),
        _commit("pack", nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        _json("requirements"),
        _json("changes"),
        sa.Column("checks", sa.Integer(), nullable=False),
        _of_task("commits"),
        sa.ForeignKeyConstraint(
            ["bundle"], ["bundles.sha256"], name=op.f("fk_commits_bundle_bundles")
        ),
        sa.ForeignKeyConstraint(
            ["pack"], ["artifacts.sha256"], name=op.f("fk_commits_pack_artifacts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commits")),
        sa.UniqueConstraint("task", "commit", name=op.f("uq_commits_task")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "packages",
        _task(),
        _commit("commit"),
        sa.Column("platform", sa.String(length=80), nullable=False),
        _json("packages"),
        sa.Column("at", sa.Double(), nullable=False),
        _of_task("packages"),
        sa.PrimaryKeyConstraint("task", "commit", "platform", name=op.f("pk_packages")),
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        _id(),
        _task(),
        _commit("commit"),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("status_since", sa.Double(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("wave_since", sa.Double(), nullable=False),
        sa.Column("approved", sa.Integer(), nullable=False),
        _text("hold"),
        _text("why"),
        _commit("previous", nullable=True),
        _json("policy"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        _of_task("rollouts"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_rollouts_task"), "rollouts", ["task"])
    op.create_index(
        "uq_rollouts_current_task",
        "rollouts",
        ["task"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _deployments() -> None:
    op.create_table(
        "deployments",
        _task(),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        _commit("desired", nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rollout", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("wave", sa.Integer(), nullable=True),
        sa.Column("after_seconds", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("status_since", sa.Double(), nullable=False),
        _text("reason"),
        sa.Column("stalled", sa.Boolean(), nullable=False),
        _commit("actual", nullable=True),
        sa.Column("actual_since", sa.Double(), nullable=True),
        _json("report"),
        sa.Column("reported_at", sa.Double(), nullable=True),
        _of_task("deployments"),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_deployments_device_id_devices")
        ),
        sa.ForeignKeyConstraint(
            ["rollout"], ["rollouts.id"], name=op.f("fk_deployments_rollout_rollouts")
        ),
        sa.PrimaryKeyConstraint("task", "device_id", name=op.f("pk_deployments")),
    )
    for column in ("device_id", "rollout"):
        op.create_index(op.f(f"ix_deployments_{column}"), "deployments", [column])


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def _task() -> sa.Column[str]:
    return sa.Column("task", sa.String(length=63), nullable=False)


def _of_task(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f(f"fk_{table}_task_tasks"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _commit(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=64), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=False)


def downgrade() -> None:
    for table in ("hooks", "deployments", "rollouts", "packages", "commits", "sources"):
        op.drop_table(table)
    op.execute(
        "DELETE FROM memberships WHERE task IN (SELECT name FROM tasks WHERE bundle IS NULL)"
    )
    op.execute("DELETE FROM tasks WHERE bundle IS NULL")
    _let_bundle_be_null(False)
