"""What pages show of a round with many devices: a byte a device, and how its clients' metrics spread."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PLACES = (
    "INSERT INTO run_places (run_id, device_id, place) "
    "SELECT run_id, device_id, row_number() OVER (PARTITION BY run_id ORDER BY name) - 1 FROM "
    "(SELECT DISTINCT p.run_id, p.device_id, d.name FROM participations p "
    "JOIN devices d ON d.id = p.device_id) AS took_part"
)


def upgrade() -> None:
    op.create_table(
        "run_places",
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_places_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_run_places_device_id_devices")
        ),
        sa.PrimaryKeyConstraint("run_id", "device_id", name=op.f("pk_run_places")),
    )
    op.create_index(op.f("ix_run_places_device_id"), "run_places", ["device_id"])
    op.create_table(
        "round_pictures",
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("cells", sa.LargeBinary(), nullable=False),
        sa.Column("spread", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("replied", sa.Integer(), nullable=False),
        sa.Column("bytes_up", sa.BigInteger(), nullable=False),
        sa.Column("slowest", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "round"],
            ["rounds.run_id", "rounds.round"],
            name=op.f("fk_round_pictures_run_id_rounds"),
        ),
        sa.PrimaryKeyConstraint("run_id", "round", name=op.f("pk_round_pictures")),
    )
    op.execute(_PLACES)


def downgrade() -> None:
    op.drop_table("round_pictures")
    op.drop_table("run_places")
