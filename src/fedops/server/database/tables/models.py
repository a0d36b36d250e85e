"""Model versions and the names that point to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.server.database.tables.base import Base, BigId


class ModelVersionRow(Base):
    """A global model version. Never changed but for its quarantine, never removed."""

    __tablename__ = "model_versions"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    round: Mapped[int] = mapped_column(Integer)
    parent: Mapped[int | None] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"))
    strategy_state: Mapped[str | None] = mapped_column(ForeignKey("artifacts.sha256"))
    contract: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, float]]
    lineage: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    #: Since when nothing goes on from it, and why; None: it is as good as any.
    quarantined_at: Mapped[float | None]
    quarantine: Mapped[str | None] = mapped_column(Text)


class AliasRow(Base):
    """A movable name for a version."""

    __tablename__ = "aliases"
    __table_args__ = (
        ForeignKeyConstraint(
            ["task", "version"], ["model_versions.task", "model_versions.version"]
        ),
    )

    task: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    moved_at: Mapped[float]


class AliasMoveRow(Base):
    """Where an alias was moved to, and by whom. ``undone_at``: a rollback took it back."""

    __tablename__ = "alias_moves"
    __table_args__ = (
        Index("ix_alias_moves_task_name", "task", "name", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"))
    name: Mapped[str] = mapped_column(String(63))
    version: Mapped[int] = mapped_column(Integer)
    who: Mapped[str] = mapped_column(Text)
    at: Mapped[float]
    undone_at: Mapped[float | None]
