"""Aliases as operators move them: promote a version, and roll back to the one before."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import AliasMoveRead, AliasRead, ModelVersionRead
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.server.database import lookup
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import AliasMoveRow, AliasRow, ModelVersionRow, TaskRow
from fedops.server.events import event_log
from fedops.server.models import quarantine, versions

_NAME = re.compile(r"(?!v\d)[a-z][a-z0-9-]{0,62}")
#: How much of an alias's past is shown.
_HISTORY = 20


def promote_version(
    session: Session, task: str, version: str, name: str, now: float
) -> ModelVersionRead:
    """Let an alias name a version. Doing it again changes nothing."""
    _require_movable(task, name)
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"'{name}' is no alias: it is a lower-case word such as serving, and no version's name"
        )
    row = versions.find_version(session, task, version)
    _lock(session, task)
    quarantine.require_sound(row, f"{name} cannot be moved")
    if versions.aliases(session, task).get(name) != row.version:
        who = event_log.OPERATOR
        versions.move_alias(session, task, name, row.version, now, who, "model.promoted")
    return versions.version_read(session, row)


def roll_back_alias(session: Session, task: str, name: str, now: float) -> ModelVersionRead:
    """Take back an alias's last move: it names the version that it named before."""
    _require_task(session, task)
    _require_movable(task, name)
    _lock(session, task)
    last = _moves(session, task, name, 2)
    if not last:
        known = ", ".join(sorted(versions.aliases(session, task))) or "none"
        raise NotFound(f"task '{task}' has no alias '{name}'; it has: {known}")
    if len(last) < 2:
        raise Conflict(
            f"{name} of task '{task}' named nothing else before V{last[0].version}: "
            "there is nothing to go back to"
        )
    current, before = last
    goal = session.get_one(ModelVersionRow, (task, before.version))
    quarantine.require_sound(goal, f"{name} cannot be rolled back")
    current.undone_at = now
    versions.set_alias(session, task, name, before.version, now)
    moved = (current.version, before.version)
    versions.log_move(session, task, name, moved, now, event_log.OPERATOR, versions.ROLLED_BACK)
    return versions.read_version(session, task, f"V{before.version}")


def _require_movable(task: str, name: str) -> None:
    if name == versions.LATEST:
        raise Invalid(
            f"'{name}' is always the newest version of a task, so nobody moves it: give the version a name of"
            f" its own ('fedops model promote {task} V3 --alias serving'), or let a run start from it"
            f" ('fedops run start {task} --from V3')"
        )


def list_aliases(session: Session, task: str) -> list[AliasRead]:
    """A task's aliases, each with its newest moves."""
    _require_task(session, task)
    query = select(AliasRow).where(AliasRow.task == task).order_by(AliasRow.name)
    named = versions.aliases(session, task)
    return [
        AliasRead(
            name=row.name,
            version=named[row.name],
            moved_at=row.moved_at,
            moves=[_read(move) for move in _history(session, task, row.name)],
        )
        for row in session.scalars(query).all()
    ]


def _read(move: AliasMoveRow) -> AliasMoveRead:
    return read_as(AliasMoveRead, move)


def _moves(session: Session, task: str, name: str, count: int) -> list[AliasMoveRow]:
    """The newest moves that were not taken back."""
    query = (
        select(AliasMoveRow)
        .where(AliasMoveRow.task == task, AliasMoveRow.name == name)
        .where(AliasMoveRow.undone_at.is_(None))
        .order_by(AliasMoveRow.id.desc())
        .limit(count)
    )
    return list(session.scalars(query))


def _history(session: Session, task: str, name: str) -> list[AliasMoveRow]:
    query = (
        select(AliasMoveRow)
        .where(AliasMoveRow.task == task, AliasMoveRow.name == name)
        .order_by(AliasMoveRow.id.desc())
        .limit(_HISTORY)
    )
    return list(session.scalars(query))


def _require_task(session: Session, task: str) -> None:
    if session.get(TaskRow, task) is None:
        raise NotFound(lookup.unknown_task(session, task))


def _lock(session: Session, task: str) -> None:
    """One at a time moves a task's aliases, on databases with many writers."""
    session.get_one(TaskRow, task, with_for_update=True, populate_existing=True)
