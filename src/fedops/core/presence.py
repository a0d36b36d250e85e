"""When a device counts as there, and how often it is to call."""

from __future__ import annotations

#: A device is online until this many of its intervals after its last call.
HEARTBEAT_PATIENCE = 2.0


#: More devices call less often, so that the server hears about as many calls a second.
CALLS_A_SECOND = 100.0


#: The longest that a device is to wait between two calls. Seconds.
LONGEST_INTERVAL = 25.0


def present_until(called_at: float, interval: float) -> float:
    """Until when a device that called at ``called_at`` counts as present without another call."""
    return called_at + HEARTBEAT_PATIENCE * interval


def is_online(until: float | None, now: float) -> bool:
    """Whether a device counts as present at ``now``."""
    return until is not None and now < until


def call_interval(devices: int, least: float) -> float:
    """How often each of ``devices`` is to call, in seconds; never more often than each ``least``."""
    return max(least, min(devices / CALLS_A_SECOND, LONGEST_INTERVAL))
