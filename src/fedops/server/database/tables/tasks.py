"""Tasks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ForeignKey,
    Integer,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import (
    TaskStatus,
)
from fedops.server.database.tables.base import Base


class TaskRow(Base):
    """What is to be learned."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    status: Mapped[TaskStatus]
    description: Mapped[str] = mapped_column(Text, default="")
    #: None: a draft, whose first commit was not found sound yet.
    bundle: Mapped[str | None] = mapped_column(ForeignKey("bundles.sha256"))
    overrides: Mapped[list[str]]
    #: The config with the overrides, secrets redacted.
    config: Mapped[dict[str, Any]]
    #: The number the next global model version gets. Only ever counted up.
    next_version: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[float]
    updated_at: Mapped[float]
