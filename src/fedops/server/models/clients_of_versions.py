"""What each client said of the models that two versions are, side by side."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import ModelVersionRead
from fedops.core.states import ParticipationStatus
from fedops.server.database.tables import DeviceRow, ParticipationRow

#: More clients than this are not compared one by one.
_MOST = 2_000


@dataclass(frozen=True)
class ClientDifference:
    """A metric of one client in the round that made each version. None: it took no part in it."""

    device: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        """By how much the second is more."""
        return None if self.first is None or self.second is None else self.second - self.first


def client_differences(
    session: Session, first: ModelVersionRead, second: ModelVersionRead
) -> dict[str, list[ClientDifference]]:
    """By metric, those that clients of both reported; the largest difference first."""
    found = [_reported(session, version) for version in (first, second)]
    names = sorted(found[0].keys() & found[1].keys())
    return {name: _side_by_side(found[0][name], found[1][name]) for name in names}


def _side_by_side(first: dict[str, float], second: dict[str, float]) -> list[ClientDifference]:
    rows = [
        ClientDifference(device, first.get(device), second.get(device))
        for device in sorted(first.keys() | second.keys())
    ]
    return sorted(rows, key=lambda one: -abs(one.difference or 0.0))


def _reported(session: Session, version: ModelVersionRead) -> dict[str, dict[str, float]]:
    """What clients reported in the round that made a version, by metric and device."""
    if version.run_id is None:
        return {}
    row = ParticipationRow
    here = (row.run_id == version.run_id, row.round == version.round)
    query = (
        select(DeviceRow.name, row.metrics)
        .join(DeviceRow, DeviceRow.id == row.device_id)
        .where(*here, row.status == ParticipationStatus.REPLIED)
        .where(row.attempt == select(func.max(row.attempt)).where(*here).scalar_subquery())
        .limit(_MOST)
    )
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for device, metrics in session.execute(query):
        for name, value in metrics.items():
            found[name][device] = value
    return found
