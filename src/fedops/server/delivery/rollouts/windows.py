"""When devices may switch to another commit: windows by cron, in a time zone; deny wins.

A window begins when its cron expression says, and lasts so many minutes of real time, whatever the clocks of
the zone do meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from fedops.core.contracts import Windows
from fedops.core.contracts.delivery import Window
from fedops.core.errors import Invalid

#: How many windows are looked through for the next moment at which nothing is in the way.
_LOOKED_AHEAD = 200


def require_readable(windows: Windows) -> None:
    """``Invalid`` for a zone or a cron expression that nobody understands."""
    zone = _zone(windows.zone)
    for window in (*windows.allow, *windows.deny):
        _next_begin(window, datetime.now(zone))


def reason_to_hold(windows: Windows, now: float) -> str:
    """Why devices may not switch at ``now`` (POSIX seconds), and until when; "": they may."""
    if not (windows.allow or windows.deny):
        return ""
    try:
        at = datetime.fromtimestamp(now, _zone(windows.zone))
        opens = _opens(windows, at)
    except Invalid as error:
        return f"nobody may switch: {error.message}; mend it with 'fedops task source'"
    if opens == at:
        return ""
    if opens is None:
        return "outside of the windows in which devices may switch, and none is near"
    until = opens.strftime("%Y-%m-%d %H:%M")
    return f"outside of the windows in which devices may switch, until {until} {windows.zone}"


def _opens(windows: Windows, at: datetime) -> datetime | None:
    """The first moment from ``at`` on that is allowed and not denied. None: it is not found."""
    for _ in range(_LOOKED_AHEAD):
        denied = _end(windows.deny, at)
        if denied is not None:
            at = denied
        elif not windows.allow or _end(windows.allow, at) is not None:
            return at
        else:
            begins = [_next_begin(window, at) for window in windows.allow]
            found = [one for one in begins if one is not None]
            if not found:
                return None
            at = min(found)
    return None


def _end(windows: Iterable[Window], at: datetime) -> datetime | None:
    """When the windows that ``at`` is in end, the latest of them. None: it is in none."""
    ends = [end for window in windows if (end := _last_end(window, at)) is not None and end > at]
    return max(ends, default=None)


def _last_end(window: Window, at: datetime) -> datetime | None:
    """When the window that began last ends. A window that begins at ``at`` has begun."""
    begun = _tick(window, at + timedelta(seconds=1), reverse=True)
    if begun is None:
        return None
    end = begun.astimezone(UTC) + timedelta(minutes=window.minutes)
    return end.astimezone(at.tzinfo)


def _next_begin(window: Window, at: datetime) -> datetime | None:
    return _tick(window, at)


def _tick(window: Window, at: datetime, *, reverse: bool = False) -> datetime | None:
    if len(window.cron.split()) != 5:
        raise Invalid(f"'{window.cron}' is no cron expression: it has five fields")
    try:
        return next(CronSim(window.cron, at, reverse=reverse))
    except CronSimError as error:
        raise Invalid(f"'{window.cron}' is no cron expression: {error}") from None
    except StopIteration:
        return None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(
            f"there is no time zone '{name}': write one such as 'Europe/Berlin'"
        ) from None
