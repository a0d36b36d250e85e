"""Which devices serve the model of a task, and what they say of it."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fedops.core.states import ServingStatus
from fedops.server.database.tables.base import Base


class ServingRow(Base):
    """A device wants the version that an alias of a task names. Which one that is, the alias says."""

    __tablename__ = "serving"
    __table_args__ = (Index("ix_serving_task_alias", "task", "alias"),)

    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    alias: Mapped[str] = mapped_column(String(63))
    #: The version that it heard of last, and the one that it serves, by its own word.
    wanted: Mapped[int | None] = mapped_column(Integer)
    active: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[ServingStatus]
    status_since: Mapped[float]
    reason: Mapped[str] = mapped_column(Text, default="")
    stalled: Mapped[bool] = mapped_column(default=False)
    reported_at: Mapped[float]
