"""Times by the clock of a zone: the next one after a moment, across daylight-saving changes.

A time that a change leaves out comes right after the change; one that a change brings twice comes once.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from fedops.core.contracts import Cron
from fedops.core.errors import Invalid


def next_tick(cron: Cron, after: float) -> float:
    """The first time after ``after``; POSIX seconds.

    Raises:
        Invalid: the expression or the zone is none, or such a time never comes.
    """
    zone = _zone(cron.zone)
    try:
        ticks = CronSim(cron.expression, datetime.fromtimestamp(after, zone))
    except CronSimError as error:
        raise Invalid(
            f"cron '{cron.expression}': {str(error).lower()}; it has five fields, minute hour day month "
            "weekday: '0 2 * * *' is every day at 2"
        ) from None
    for tick in ticks:
        return tick.timestamp()
    raise Invalid(f"cron '{cron.expression}': such a time never comes")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"there is no time zone '{name}'; write one such as Europe/Berlin") from None
