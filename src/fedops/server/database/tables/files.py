"""Stored files, those to be removed, and app bundles."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fedops.server.database.tables.base import Base


class ArtifactRow(Base):
    """A stored file, named by its content. The bytes are in the artifact store."""

    __tablename__ = "artifacts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    #: When the same content was last uploaded again: somebody is about to use it.
    renewed_at: Mapped[float | None]
    #: Set when nothing needed it any more and its file was removed.
    removed_at: Mapped[float | None]


class RemovalRow(Base):
    """A file that a run's retention rule gave up. It is removed unless something else needs it."""

    __tablename__ = "removals"

    sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"), primary_key=True)
    since: Mapped[float]


class BundleRow(Base):
    """An app that was uploaded and found to be one."""

    __tablename__ = "bundles"

    sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"), primary_key=True)
    package: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text, default="")
    #: The Git commit its files were at, as far as known.
    commit: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[float]
