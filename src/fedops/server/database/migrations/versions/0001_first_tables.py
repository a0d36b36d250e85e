"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _artifacts()
    _devices()
    _events()
    _server_meta()
    _bundles()
    _device_records()
    _tasks()
    _memberships()
    _runs()
    _attempts()
    _metrics()
    _model_versions()
    _rounds()
    _run_devices()
    _aliases()
    _participations()
    _tokens()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)


_TABLES = (
    "artifacts",
    "devices",
    "events",
    "server_meta",
    "bundles",
    "device_records",
    "tasks",
    "memberships",
    "runs",
    "attempts",
    "metrics",
    "model_versions",
    "rounds",
    "run_devices",
    "aliases",
    "participations",
    "tokens",
)


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_artifacts")),
    )


def _devices() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("public_key", sa.String(length=500), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column(
            "enrolment",
            sa.Enum(
                "pending",
                "approved",
                "rejected",
                "revoked",
                name="enrolment",
                native_enum=False,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("info", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("node_id", sa.String(length=32), nullable=True),
        sa.Column("last_heartbeat_at", sa.Double(), nullable=True),
        sa.Column("noted_online", sa.Boolean(), nullable=False),
        sa.Column("process", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("process_at", sa.Double(), nullable=True),
        sa.Column("spool_records", sa.BigInteger(), nullable=False),
        sa.Column("spool_dropped", sa.BigInteger(), nullable=False),
        sa.Column("problems", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_devices_fingerprint")),
        sa.UniqueConstraint("name", name=op.f("uq_devices_name")),
    )
    op.create_index(op.f("ix_devices_node_id"), "devices", ["node_id"], unique=False)


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_run_id"), "events", ["run_id"], unique=False)


def _server_meta() -> None:
    op.create_table(
        "server_meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_server_meta")),
    )


def _bundles() -> None:
    op.create_table(
        "bundles",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("package", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["artifacts.sha256"], name=op.f("fk_bundles_sha256_artifacts")
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_bundles")),
    )


def _device_records() -> None:
    op.create_table(
        "device_records",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("round", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_records_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("device_id", "id", name=op.f("pk_device_records")),
    )
    op.create_index(
        op.f("ix_device_records_received_at"), "device_records", ["received_at"], unique=False
    )
    op.create_index(
        "ix_device_records_run_id_kind", "device_records", ["run_id", "kind"], unique=False
    )


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column(
            "status",
            sa.Enum("draft", "ready", "archived", name="taskstatus", native_enum=False, length=40),
            nullable=False,
        ),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("overrides", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("config", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("next_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["bundle"], ["bundles.sha256"], name=op.f("fk_tasks_bundle_bundles")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tasks")),
    )


def _memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_memberships_device_id_devices")
        ),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_memberships_task_tasks")),
        sa.PrimaryKeyConstraint("device_id", "task", name=op.f("pk_memberships")),
    )
    op.create_index(op.f("ix_memberships_task"), "memberships", ["task"], unique=False)


def _run_status() -> sa.Enum:
    return sa.Enum(
        "pending",
        "starting",
        "running",
        "pausing",
        "paused",
        "resuming",
        "stopping",
        "completed",
        "stopped",
        "failed",
        name="runstatus",
        native_enum=False,
        length=40,
    )


def _failure_reason() -> sa.Enum:
    return sa.Enum(
        "engine_error",
        "too_few_clients",
        "aggregation_error",
        "app_error",
        "timeout",
        name="failurereason",
        native_enum=False,
        length=40,
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column(
            "status",
            _run_status(),
            nullable=False,
        ),
        sa.Column("status_since", sa.Double(), nullable=False),
        sa.Column(
            "reason",
            _failure_reason(),
            nullable=True,
        ),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("config", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("overrides", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("committed_rounds", sa.Integer(), nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("parent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("contract", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("refused", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("current_attempt", sa.Integer(), nullable=False),
        sa.Column("lost_in_a_row", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["bundle"], ["bundles.sha256"], name=op.f("fk_runs_bundle_bundles")
        ),
        sa.ForeignKeyConstraint(["parent"], ["runs.id"], name=op.f("fk_runs_parent_runs")),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_runs_task_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    _run_indexes()


def _run_indexes() -> None:
    op.create_index(op.f("ix_runs_task"), "runs", ["task"], unique=False)
    op.create_index(
        "uq_runs_active_task",
        "runs",
        ["task"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "starting",
                "running",
                "ended",
                "lost",
                "cancelled",
                name="attemptstatus",
                native_enum=False,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("engine_run_id", sa.String(length=32), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column("pid", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("progress", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("progress_at", sa.Double(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("cleared_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("run_id", "number", name=op.f("uq_attempts_run_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_attempts_engine_run_id"), "attempts", ["engine_run_id"], unique=False)
    op.create_index(op.f("ix_attempts_run_id"), "attempts", ["run_id"], unique=False)


def _metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=True),
        sa.Column("device_id", sa.String(length=32), nullable=True),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_metrics_device_id_devices")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_metrics_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metrics")),
    )
    op.create_index(op.f("ix_metrics_device_id"), "metrics", ["device_id"], unique=False)
    op.create_index("ix_metrics_run_id_name", "metrics", ["run_id", "name", "round"], unique=False)


def _model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("strategy_state", sa.String(length=64), nullable=True),
        sa.Column("contract", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("lineage", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_model_versions_run_id_runs")
        ),
        sa.ForeignKeyConstraint(
            ["sha256"], ["artifacts.sha256"], name=op.f("fk_model_versions_sha256_artifacts")
        ),
        sa.ForeignKeyConstraint(
            ["strategy_state"],
            ["artifacts.sha256"],
            name=op.f("fk_model_versions_strategy_state_artifacts"),
        ),
        sa.ForeignKeyConstraint(
            ["task"], ["tasks.name"], name=op.f("fk_model_versions_task_tasks")
        ),
        sa.PrimaryKeyConstraint("task", "version", name=op.f("pk_model_versions")),
    )
    op.create_index(op.f("ix_model_versions_run_id"), "model_versions", ["run_id"], unique=False)


def _rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("begun", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("committed_at", sa.Double(), nullable=True),
        sa.Column("model", sa.String(length=64), nullable=True),
        sa.Column("strategy_state", sa.String(length=64), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("overhead_seconds", sa.Double(), nullable=True),
        sa.Column("timing", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("client_metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("train_metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model"], ["artifacts.sha256"], name=op.f("fk_rounds_model_artifacts")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_rounds_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["strategy_state"],
            ["artifacts.sha256"],
            name=op.f("fk_rounds_strategy_state_artifacts"),
        ),
        sa.PrimaryKeyConstraint("run_id", "round", name=op.f("pk_rounds")),
    )


def _run_devices() -> None:
    op.create_table(
        "run_devices",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("quiet_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_run_devices_device_id_devices")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_devices_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "device_id", name=op.f("pk_run_devices")),
    )
    op.create_index(op.f("ix_run_devices_device_id"), "run_devices", ["device_id"], unique=False)


def _aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("task", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("moved_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task", "version"],
            ["model_versions.task", "model_versions.version"],
            name=op.f("fk_aliases_task_model_versions"),
        ),
        sa.PrimaryKeyConstraint("task", "name", name=op.f("pk_aliases")),
    )


def _participations() -> None:
    op.create_table(
        "participations",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "selected",
                "replied",
                "rejected",
                "dropped",
                name="participationstatus",
                native_enum=False,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("examples", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("bytes_up", sa.BigInteger(), nullable=True),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_participations_device_id_devices")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "round"],
            ["rounds.run_id", "rounds.round"],
            name=op.f("fk_participations_run_id_rounds"),
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "round", "attempt", "device_id", name=op.f("pk_participations")
        ),
    )
    op.create_index(
        op.f("ix_participations_device_id"), "participations", ["device_id"], unique=False
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "admin", "join", "device", "attempt", name="tokenkind", native_enum=False, length=40
            ),
            nullable=False,
        ),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("uses_left", sa.Integer(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("device_id", sa.String(length=32), nullable=True),
        sa.Column(
            "attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_tokens_attempt_id_attempts")
        ),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_tokens_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
    )
    op.create_index(op.f("ix_tokens_attempt_id"), "tokens", ["attempt_id"], unique=False)
    op.create_index(op.f("ix_tokens_device_id"), "tokens", ["device_id"], unique=False)
