"""All that needs somebody, what is urgent first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from fedops.core.contracts import RunRead
from fedops.server.attention import of_delivery, of_devices, of_runs
from fedops.server.attention.thing import Attention, Severity, Within, in_order
from fedops.settings import ServerSettings
from fedops.storage.shortages import shortages


def things_to_do(
    session: Session,
    settings: ServerSettings,
    now: float,
    within: Within = None,
    active: Sequence[RunRead] | None = None,
) -> list[Attention]:
    """What needs somebody at ``now`` (POSIX seconds), what is urgent first.

    ``within``: of these tasks alone. ``active``: the runs that are not over, where they were read already.
    """
    if active is None:
        active = of_runs.active_runs(session, settings, now, within)
    return in_order(
        [
            *_server(now, within),
            *of_runs.failed_runs(session, settings, now, within),
            *of_runs.waiting_runs(session, active, now),
            *of_devices.devices(session, now, within),
            *of_delivery.rollouts(session, now, within),
            *of_delivery.stuck_devices(session, within),
            *of_delivery.quarantined_versions(session, now, within),
            *of_delivery.drift_alarms(session, now, within),
        ]
    )


def _server(now: float, within: Within) -> Iterator[Attention]:
    """What the server itself runs short of. Where that is, only who sees all is told."""
    shortage = shortages.current
    if shortage is not None:
        text = shortage.text() if within is None else shortage.short()
        sentence = text[:1].upper() + text[1:]
        since = now - shortages.unwritten_seconds
        yield Attention("server", Severity.NOW, sentence, since)
