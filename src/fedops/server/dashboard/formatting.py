"""What the dashboard writes: pure functions from the API's replies to text, colours and charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedops.core.contracts import DeviceRead, RoundRead, RunRead
from fedops.core.states import Enrolment, ProcessStatus, RunStatus

#: Okabe-Ito colours: told apart by people with colour-blindness too.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8F98"

_RUN_COLOURS = {
    RunStatus.COMPLETED: GREEN,
    RunStatus.FAILED: RED,
    RunStatus.STOPPED: GREY,
    RunStatus.PAUSED: ORANGE,
}


def run_colour(status: RunStatus) -> str:
    return _RUN_COLOURS.get(status, BLUE)


def device_colour(device: DeviceRead) -> str:
    if device.enrolment is Enrolment.QUARANTINED:
        return RED
    if not device.online:
        return GREY
    if device.process.status in (ProcessStatus.FATAL, ProcessStatus.BACKOFF):
        return RED
    busy = (ProcessStatus.TRAINING, ProcessStatus.EVALUATING)
    return BLUE if device.process.status in busy else GREEN


def device_doing(device: DeviceRead) -> str:
    """Two or three words: what the device does now."""
    if device.enrolment is Enrolment.QUARANTINED:
        return str(device.enrolment)
    if not device.online:
        return "offline"
    process = device.process
    if process.round is not None and process.status in (
        ProcessStatus.TRAINING,
        ProcessStatus.EVALUATING,
    ):
        return f"{process.status}, round {process.round}"
    return str(process.status)


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def run_title(run: RunRead) -> str:
    return f"Run {run.id} of {run.task}"


def round_rows(rounds: Sequence[RoundRead]) -> list[dict[str, Any]]:
    """Rows of the rounds table, newest first."""
    return [
        {
            "round": row.round,
            "accuracy": percent(row.metrics.get("accuracy")),
            "loss": number(row.metrics.get("loss")),
            "clients": f"{_replied(row)} of {len(row.participations)}",
            "seconds": number(row.seconds, 1),
            "notes": "; ".join(_notes(row)),
        }
        for row in reversed(rounds)
    ]


def curve(rounds: Sequence[RoundRead]) -> dict[str, Any]:
    """ECharts options: accuracy (left axis) and loss (right axis) over the rounds."""
    done = [row for row in rounds if row.committed_at is not None]
    return {
        "animation": False,
        "color": [BLUE, ORANGE],
        "legend": {"top": 0, "data": ["accuracy", "loss"]},
        "tooltip": {"trigger": "axis"},
        "grid": {"left": 56, "right": 56, "top": 40, "bottom": 40},
        "xAxis": {
            "type": "category",
            "name": "round",
            "nameLocation": "middle",
            "nameGap": 26,
            "data": [row.round for row in done],
        },
        "yAxis": [
            {"type": "value", "name": "accuracy", "min": 0, "max": 1},
            {"type": "value", "name": "loss", "min": 0, "splitLine": {"show": False}},
        ],
        "series": [_series("accuracy", done, 0), _series("loss", done, 1)],
    }


def _series(name: str, rounds: Sequence[RoundRead], axis: int) -> dict[str, Any]:
    return {
        "name": name,
        "type": "line",
        "yAxisIndex": axis,
        "symbolSize": 7,
        "connectNulls": True,
        "data": [row.metrics.get(name) for row in rounds],
    }


def _replied(row: RoundRead) -> int:
    return sum(part.status == "replied" for part in row.participations)


def _notes(row: RoundRead) -> list[str]:
    return [f"{part.device}: {part.reason}" for part in row.participations if part.reason]
