"""Times relative to now, with the exact one on hover; a script of the page lets them go on."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup

from fedops.core.reasons.durations import duration
from fedops.server.dashboard.look.numbers import NONE

_DAY = 86_400.0


def exact(at: float | None) -> str:
    """``2026-11-30 05:16:47 UTC``."""
    return NONE if at is None else _when(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: float | None) -> str:
    """``05:16:47`` (UTC)."""
    return NONE if at is None else _when(at).strftime("%H:%M:%S")


def moment(at: float, span_seconds: float) -> str:
    """On an axis of time that is so long: ``05:16:47``, or ``11-30 05:16`` beyond a day (UTC)."""
    return clock(at) if span_seconds < _DAY else _when(at).strftime("%m-%d %H:%M")


def ago(at: float | None, now: float) -> Markup:
    """``4 min ago`` or ``in 11 min``, as an element."""
    if at is None:
        return Markup(NONE)
    text = f"in {duration(at - now)}" if at > now + 1 else f"{duration(now - at)} ago"
    when = _when(at).isoformat(timespec="seconds")[:19]
    exactly = f"{when[:10]} {when[11:]} UTC"  # all of it is safe: a long page has hundreds
    return Markup(f'<time datetime="{when}Z" data-at="{at:.0f}" title="{exactly}">{text}</time>')


def span(seconds: float | None) -> str:
    """``0.1 s``, ``48 s``, ``3 min``."""
    if seconds is None:
        return NONE
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _when(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
