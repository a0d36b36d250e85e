"""Whether the stored global models are what they were when they were made."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import FileCheck, ModelVersionRead
from fedops.core.errors import NotFound, Unavailable
from fedops.server.database import lookup
from fedops.server.database.tables import ModelVersionRow, TaskRow
from fedops.storage.blobs import BlobStore


def to_check(
    session: Session, task: str | None, within: frozenset[str] | None = None
) -> list[FileCheck]:
    """Every version, of one task or all (or all within these), not looked into yet."""
    query = select(ModelVersionRow).order_by(ModelVersionRow.task, ModelVersionRow.version)
    if within is not None:
        query = query.where(ModelVersionRow.task.in_(within))
    if task is not None:
        if session.get(TaskRow, task) is None:
            raise NotFound(lookup.unknown_task(session, task))
        query = query.where(ModelVersionRow.task == task)
    return [
        FileCheck(task=row.task, version=row.version, sha256=row.sha256)
        for row in session.scalars(query)
    ]


def check_files(store: BlobStore, files: Sequence[FileCheck]) -> list[FileCheck]:
    """Read each file once and say what is wrong with it. Takes as long as the disk takes."""
    found = {sha256: store.check(sha256) for sha256 in {file.sha256 for file in files}}
    return [file.model_copy(update={"problem": found[file.sha256]}) for file in files]


def require_intact(artifacts: BlobStore, version: ModelVersionRead) -> None:
    """``Unavailable`` when the file of a version is damaged or gone."""
    problem = artifacts.check(version.sha256)
    if problem:
        raise Unavailable(
            f"V{version.version} of task '{version.task}' cannot be used: {problem} "
            f"(sha256 {version.sha256}); bring the file back from a backup"
        )
