"""What a device measured of itself, drawn below its rounds on the same axis: causes meet effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fedops.core.contracts import TelemetryRead
from fedops.server.dashboard.look import drawings
from fedops.server.dashboard.look.numbers import size
from fedops.server.dashboard.look.states import look_of
from fedops.server.dashboard.web.view import View
from fedops.server.telemetry import device_rounds, system_metrics
from fedops.server.telemetry.device_rounds import DeviceRound

#: So many samples and rounds are looked at.
_SAMPLES, _ROUNDS = 200, 50
_Write = Callable[[float], str]


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _megabytes(value: float) -> str:
    return size(value * 1e6)


#: What is shown of a sample, how it is called, and how its values are written.
_MEASURED: tuple[tuple[str, str, _Write], ...] = (
    ("cpu_percent", "CPU", _percent),
    ("memory_percent", "Memory", _percent),
    ("gpu0_percent", "GPU", _percent),
    ("disk_free_mb", "Disk free", _megabytes),
    ("net_received_bytes", "Received", size),
    ("net_sent_bytes", "Sent", size),
)


@dataclass(frozen=True)
class Line:
    """One measure over the time of the samples."""

    title: str
    picture: Markup
    low: str
    high: str
    last: str


def telemetry(view: View, device_id: str) -> dict[str, Any]:
    """What it measured of itself, lately, and its rounds in that time."""
    samples = system_metrics.latest_samples(view.session, device_id, _SAMPLES, view.tasks)
    lines = [line for one in _MEASURED if (line := _line(samples, *one)) is not None]
    if not lines or len(samples) < 2:
        return {"lines": lines, "rounds": None, "begin": None, "end": None}
    begin, end = samples[0].at, samples[-1].at
    rounds = device_rounds.newest_rounds(view.session, device_id, _ROUNDS, view.tasks)
    return {"lines": lines, "rounds": _bands(rounds, begin, end), "begin": begin, "end": end}


def _line(samples: Sequence[TelemetryRead], name: str, title: str, write: _Write) -> Line | None:
    points = [(one.at, _number(one.values.get(name))) for one in samples]
    there = [value for _, value in points if value is not None]
    if not there:
        return None
    low, high, last = write(min(there)), write(max(there)), write(there[-1])
    label = f"{title} over time, from {low} to {high}, now {last}"
    return Line(title, drawings.over_time(points, label), low, high, last)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _bands(rounds: Sequence[DeviceRound], begin: float, end: float) -> Markup:
    """Its rounds of that time as bands, each in the colour of what came out."""
    spans = [
        (
            one.started_at,
            one.committed_at or end,
            look_of(one.status).tone.value,
            f"round {one.round} of run {one.run_id}: {one.status.value}",
        )
        for one in rounds
        if (one.committed_at or end) > begin and one.started_at < end
    ]
    return drawings.bands(spans, begin, end, f"{len(spans)} rounds in this time")
