"""What the server keeps of itself: its seal, who leads, and who may upload."""

from __future__ import annotations

from sqlalchemy import (
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.server.database.tables.base import Base


class MetaRow(Base):
    """Facts about the server itself."""

    __tablename__ = "server_meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class LeaseRow(Base):
    """An office that one of several Server Managers has for a while (PostgreSQL only)."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: The life of the Server Manager that has it.
    holder: Mapped[str] = mapped_column(String(64))
    #: POSIX seconds on the database's clock.
    until: Mapped[float]
    #: Where the holder keeps the stored files: it must be the same place for all.
    files: Mapped[str] = mapped_column(Text, default="")


class UploadSlotRow(Base):
    """Leave to upload the result of an assignment (PostgreSQL only)."""

    __tablename__ = "upload_slots"

    assignment: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: POSIX seconds on the database's clock; then the slot is free again.
    until: Mapped[float]
