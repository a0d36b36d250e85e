"""The packages of a commit on a platform: asked for by a device, prepared once, the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Forbidden, NotFound
from fedops.core.states import CommitStatus
from fedops.environments.platform_names import uv_arguments
from fedops.server.database.tables import CommitRow, PackagesRow
from fedops.server.devices import enrolment
from fedops.server.devices.membership import tasks_of_device
from fedops.server.events import event_log

#: A commit is prepared for so many platforms: who asks for others is told so.
MAX_PLATFORMS = 20
#: The packages of so many of a task's newest commits stay, beside those of commits that are in use.
KEPT = 5
_PREPARING, _REFUSED = "preparing", "refused"
ASKED = c.Packages(status=_PREPARING, reason="its packages are being chosen and fetched")


@dataclass(frozen=True)
class Key:
    """Which packages."""

    task: str
    commit: str
    platform: str


@dataclass(frozen=True)
class ToPrepare:
    """What packages are to be made of: requirements as the app names them."""

    key: Key
    requirements: tuple[str, ...]


def require_member(session: Session, device_id: str, task: str) -> None:
    """``Forbidden`` unless an approved device takes part in the task."""
    enrolment.require_approved(session, device_id)
    if task not in tasks_of_device(session, device_id):
        raise Forbidden(
            f"this device takes no part in a task '{task}': it may have no packages of it"
        )


def find_packages(session: Session, key: Key) -> c.Packages | None:
    """As far as they are. None: nobody asked for them yet."""
    row = session.get(PackagesRow, (key.task, key.commit, key.platform))
    return c.Packages.model_validate(row.packages) if row else None


def packages_of(session: Session, task: str, commit: str, platform: str, now: float) -> c.Packages:
    """What is known of them. Who is the first to ask has them prepared.

    Raises:
        NotFound: the task has no such commit, or it was not found sound.
        Invalid: there is no such platform.
        Conflict: the commit is prepared for too many platforms.
    """
    key = Key(task, commit, platform)
    known = find_packages(session, key)
    if known is not None:
        return known
    _require_sound(session, key)
    uv_arguments(platform)
    this_commit = (PackagesRow.task == task, PackagesRow.commit == commit)
    if (session.scalar(select(func.count()).where(*this_commit)) or 0) >= MAX_PLATFORMS:
        raise Conflict(f"commit {commit[:12]} is prepared for {MAX_PLATFORMS} platforms: no more")
    row = PackagesRow(
        task=task, commit=commit, platform=platform, packages=ASKED.model_dump(), at=now
    )
    session.add(row)
    return ASKED


def _require_sound(session: Session, key: Key) -> None:
    if _commit(session, key).status is not CommitStatus.SOUND:
        raise NotFound(
            f"commit {key.commit[:12]} of task '{key.task}' was not found sound: "
            f"'fedops task commits {key.task}' tells why"
        )


def _commit(session: Session, key: Key) -> CommitRow:
    query = select(CommitRow).where(CommitRow.task == key.task, CommitRow.commit == key.commit)
    row = session.scalars(query).first()
    if row is None:
        raise NotFound(f"task '{key.task}' has no commit {key.commit[:12]}")
    return row


# --- what is to be prepared, and what became of it -------------------------------------------


def next_to_prepare(session: Session) -> list[ToPrepare]:
    """All that is asked for and not there yet, what was asked for first before the rest."""
    status = PackagesRow.packages["status"].as_string()
    keys = (PackagesRow.task, PackagesRow.commit, PackagesRow.platform)
    query = (
        select(*keys, CommitRow.requirements)
        .join(
            CommitRow,
            (CommitRow.task == PackagesRow.task) & (CommitRow.commit == PackagesRow.commit),
        )
        .where(status == _PREPARING)
        .order_by(PackagesRow.at, *keys)
    )
    return [
        ToPrepare(Key(task, commit, platform), tuple(requirements))
        for task, commit, platform, requirements in session.execute(query)
    ]


def record_prepared(
    session: Session, key: Key, wheels: Sequence[c.WheelRef], named: Sequence[str], now: float
) -> None:
    """They are there: every wheel is a blob."""
    made = c.Packages(status="ready", wheels=list(wheels), named=list(named))
    size = sum(wheel.size for wheel in wheels)
    if _record(session, key, made, now):
        text = (
            f"{len(wheels)} packages of commit {key.commit[:12]} for {key.platform}, {size:,} bytes"
        )
        _log(session, key, "packages.ready", text, now)


def record_refused(session: Session, key: Key, reason: str, now: float) -> None:
    """They are not to be had, and will not be for this commit unless a person has it tried again."""
    if _record(session, key, c.Packages(status=_REFUSED, reason=reason), now):
        text = f"commit {key.commit[:12]} on {key.platform}: {reason}"
        _log(session, key, "packages.refused", text, now)


def record_delayed(session: Session, key: Key, reason: str) -> None:
    """Something keeps them from being prepared; it is tried again."""
    _record(session, key, c.Packages(status=_PREPARING, reason=reason), None)


def is_any(session: Session) -> bool:
    """Whether packages of any commit are known."""
    return session.scalars(select(PackagesRow.task).limit(1)).first() is not None


def forget_others(session: Session, own: str) -> None:
    """Packages with another FedOps than that in the wheel ``own`` are chosen anew when they are asked for.

    The FL server of a run and the training clients speak with this server: after an upgrade as before it.
    """
    for row in session.scalars(select(PackagesRow)):
        names = [wheel["name"] for wheel in row.packages.get("wheels", ())]
        if row.packages.get("status") != _PREPARING and own not in names:
            session.delete(row)


def forget_refused(session: Session, task: str, commit: str) -> None:
    """The commit is tried again: what was refused is chosen anew when it is asked for."""
    query = select(PackagesRow).where(PackagesRow.task == task, PackagesRow.commit == commit)
    for row in session.scalars(query):
        if row.packages.get("status") == _REFUSED:
            session.delete(row)


def forget_old(session: Session, task: str, used: set[str]) -> None:
    """Packages of old commits go, unless these are ``used``. Whoever asks for them has them chosen anew."""
    newest = (
        select(CommitRow.commit)
        .where(CommitRow.task == task, CommitRow.status == CommitStatus.SOUND)
        .order_by(CommitRow.id.desc())
        .limit(KEPT)
    )
    kept = used | set(session.scalars(newest))
    mine = PackagesRow.task == task
    session.execute(delete(PackagesRow).where(mine, PackagesRow.commit.not_in(kept)))


def _record(session: Session, key: Key, packages: c.Packages, at: float | None) -> bool:
    """Whether it was still to be prepared. What is decided stays."""
    row = session.get(PackagesRow, (key.task, key.commit, key.platform), populate_existing=True)
    if row is None or row.packages.get("status") != _PREPARING:
        return False
    row.packages = packages.model_dump()
    row.at = row.at if at is None else at
    return True


def _log(session: Session, key: Key, what: str, text: str, now: float) -> None:
    subject = f"task {key.task}"
    event_log.append_event(
        session, now, event_log.SERVER, subject, what, text[:2_000], task=key.task
    )
