"""How many bytes crossed the network for rounds. A committed round does not change: it is counted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fedops.server.database.tables import ArtifactRow, ParticipationRow, RoundRow, RunRow

_DAY = 86_400.0
#: Of so many rounds the bytes are remembered.
_REMEMBERED = 100_000
#: (run, round), and its bytes (up, down).
_Counted = dict[tuple[int, int], tuple[int, int]]
#: Of each database that this process has open.
_known: WeakKeyDictionary[object, _Counted] = WeakKeyDictionary()
_lock = Lock()


@dataclass(frozen=True)
class Traffic:
    """Bytes that crossed the network for committed rounds."""

    #: Updates that devices sent.
    up: int
    #: Models that their rounds were begun from, once for each device that replied, whole.
    down: int


def midnight(now: float) -> float:
    """When the day (UTC) began that ``now`` is in."""
    return now - now % _DAY


def traffic_since(session: Session, since: float, within: frozenset[str] | None = None) -> Traffic:
    """What the rounds that were committed since then have sent."""
    lately = select(RunRow.id).where(or_(RunRow.ended_at.is_(None), RunRow.ended_at >= since))
    if within is not None:
        lately = lately.where(RunRow.task.in_(within))
    query = select(RoundRow.run_id, RoundRow.round).where(
        RoundRow.run_id.in_(lately), RoundRow.committed_at >= since
    )
    rounds = [(run_id, number) for run_id, number in session.execute(query)]
    counted = _counted(session, rounds)
    pairs = [counted[one] for one in rounds]
    return Traffic(sum(up for up, _ in pairs), sum(down for _, down in pairs))


def _counted(
    session: Session, rounds: list[tuple[int, int]]
) -> Mapping[tuple[int, int], tuple[int, int]]:
    """The bytes of these rounds: those of new ones are added up, run by run."""
    with _lock:
        known = dict(_known.get(session.get_bind(), {}))
    missing: dict[int, list[int]] = {}
    for run_id, number in rounds:
        if (run_id, number) not in known:
            missing.setdefault(run_id, []).append(number)
    for run_id, numbers in missing.items():
        known.update(_count(session, run_id, min(numbers), max(numbers)))
        known.update({(run_id, n): known.get((run_id, n), (0, 0)) for n in numbers})
    if missing:
        kept = known if len(known) <= _REMEMBERED else {one: known[one] for one in rounds}
        with _lock:
            _known[session.get_bind()] = kept
    return known


def _count(session: Session, run_id: int, first: int, last: int) -> _Counted:
    """Of the committed rounds of a run from ``first`` to ``last``."""
    part = ParticipationRow
    query = (
        select(RoundRow.round, func.sum(part.bytes_up), func.count(), func.max(ArtifactRow.size))
        .join(part, (part.run_id == RoundRow.run_id) & (part.round == RoundRow.round))
        .outerjoin(ArtifactRow, ArtifactRow.sha256 == RoundRow.begun_from)
        .where(RoundRow.run_id == run_id, RoundRow.round.between(first, last))
        .where(RoundRow.committed_at.is_not(None))
        .where(part.attempt == RoundRow.attempt, part.bytes_up.is_not(None))
        .group_by(RoundRow.round)
    )
    return {
        (run_id, number): (int(up or 0), replied * (size or 0))
        for number, up, replied, size in session.execute(query)
    }
