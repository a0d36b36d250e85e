"""Charts as SVG, in the shapes that the charts of scripts take: lines over rounds, and dots with names.

They are what one sees without scripts, too. Colours come from the style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fedops.server.dashboard.look.numbers import number
from fedops.server.dashboard.look.times import moment

_WIDTH, _HEIGHT = 620, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 110, 10, 40
#: Of more dots, only those that need somebody carry their names; the others tell them on hover.
_NAMED = 12
_NAME = 16
#: So many colours there are for lines.
_SERIES = 6


@dataclass(frozen=True)
class _Axis:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def fitting(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        low, high = min(values), max(values)
        spread = (high - low) or abs(high) or 1.0
        return cls(low - 0.06 * spread, high + 0.06 * spread, start, end)

    def at(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [self.low + (self.high - self.low) * share for share in (0.06, 0.35, 0.64, 0.94)]


def lines(chart: Mapping[str, Any], label: str) -> Markup:
    """Lines over rounds, with their names at their ends. A missing value is a gap."""
    xs, series = chart["x"]["values"], chart["series"]
    known = [v for one in series for v in one["values"] if _is_number(v)]
    if len(xs) < 2 or not known:
        return Markup("")
    across = _Axis(xs[0], xs[-1], _LEFT, _WIDTH - _RIGHT)
    up = _Axis.fitting(known, _HEIGHT - _BOTTOM, _TOP)
    parts = list(_frame(up, chart))
    for x in sorted({xs[0], xs[len(xs) // 2], xs[-1]}):
        said = moment(x, xs[-1] - xs[0]) if chart["x"].get("time") else str(x)
        parts.append(_text(across.at(x), _HEIGHT - 22, said, "x"))
    parts += [_mark(mark, across, up) for mark in chart.get("marks", ())]
    ends: list[float] = []
    for index, one in enumerate(series):
        colour = "faint" if one.get("faint") else f"series-{index % _SERIES + 1}"
        parts += _line(one, xs, across, up, colour, ends)
    return _picture(parts, label)


def scatter(chart: Mapping[str, Any], label: str) -> Markup:
    """Dots with their names and errors."""
    points = chart["points"]
    if not points:
        return Markup("")
    errors = [p["y"] + sign * (p.get("error") or 0.0) for p in points for sign in (-1, 1)]
    across = _Axis.fitting([p["x"] for p in points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis.fitting(errors, _HEIGHT - _BOTTOM, _TOP)
    parts = list(_frame(up, chart))
    parts += [_text(across.at(x), _HEIGHT - 22, number(x, 2), "x") for x in across.ticks()]
    taken: list[tuple[float, float]] = []
    for one in sorted(points, key=lambda p: (p.get("tone") != "now", -abs(p["y"]))):
        parts += _dot(one, across, up, taken, len(points) <= _NAMED or one.get("tone") == "now")
    return _picture(parts, label)


def _dot(
    one: Mapping[str, Any],
    across: _Axis,
    up: _Axis,
    taken: list[tuple[float, float]],
    named: bool,
) -> Iterator[Markup]:
    x, y = across.at(one["x"]), up.at(one["y"])
    error = one.get("error") or 0.0
    if error:
        yield Markup('<line class="error" x1="{x}" x2="{x}" y1="{a}" y2="{b}"/>').format(
            x=f"{x:.1f}", a=f"{up.at(one['y'] - error):.1f}", b=f"{up.at(one['y'] + error):.1f}"
        )
    said = f"{one['name']}: {number(one['y'])} ± {number(error)}, {number(one['x'], 2)}"
    yield Markup('<circle class="{}" cx="{}" cy="{}" r="4.5"><title>{}</title></circle>').format(
        one.get("tone", "good"), f"{x:.1f}", f"{y:.1f}", said
    )
    if named and all(abs(y - b) > 11 or abs(x - a) > 110 for a, b in taken):
        taken.append((x, y))
        yield _text(x + 9, y + 4, _short(one["name"]), "name")


def _line(
    one: Mapping[str, Any],
    xs: Sequence[int],
    across: _Axis,
    up: _Axis,
    colour: str,
    ends: list[float],
) -> Iterator[Markup]:
    pieces: list[list[str]] = [[]]
    last: tuple[float, float] | None = None
    for x, value in zip(xs, one["values"], strict=True):
        if not _is_number(value):
            pieces.append([])
            continue
        last = across.at(x), up.at(value)
        pieces[-1].append(f"{last[0]:.1f},{last[1]:.1f}")
    for piece in pieces:
        yield Markup('<polyline class="{}" points="{}"/>').format(colour, " ".join(piece))
    if last is not None:
        place = _free(last[1], ends)
        yield _text(last[0] + 8, place + 4, _short(one["name"]), f"name {colour}")


def _free(place: float, ends: list[float]) -> float:
    """Where a name can stand that no other one is at, near this place."""
    steps = sorted((step * 12.0 for step in range(-9, 10)), key=abs)
    inside = [place + step for step in steps if _TOP <= place + step <= _HEIGHT - _BOTTOM]
    found = next((p for p in inside if all(abs(p - end) >= 12 for end in ends)), place)
    ends.append(found)
    return found


def _frame(up: _Axis, chart: Mapping[str, Any]) -> Iterator[Markup]:
    """Lines across, what they stand for, and what the axes are."""
    digits = 2 if up.high - up.low > 0.05 else 4
    for value in up.ticks():
        y = f"{up.at(value):.1f}"
        yield Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, _WIDTH - _RIGHT, y, y)
        yield _text(_LEFT - 8, up.at(value) + 4, f"{value:.{digits}f}", "y")
    if up.low < 0 < up.high:
        y = f"{up.at(0.0):.1f}"
        yield Markup('<line class="zero" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _LEFT, _WIDTH - _RIGHT, y, y
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield _text(middle, _HEIGHT - 5, chart["x"]["name"], "x")


def _mark(mark: Mapping[str, Any], across: _Axis, up: _Axis) -> Markup:
    """A line at a round, or at a value."""
    if "x" in mark:
        x = across.at(mark["x"])
        left, right, top, bottom = x, x, float(_TOP), float(_HEIGHT - _BOTTOM)
    else:
        y = min(max(up.at(mark["y"]), float(_TOP)), float(_HEIGHT - _BOTTOM))
        left, right, top, bottom = across.start, across.end, y, y
    return Markup(
        '<line class="mark" x1="{}" x2="{}" y1="{}" y2="{}"><title>{}</title></line>'
    ).format(f"{left:.1f}", f"{right:.1f}", f"{top:.1f}", f"{bottom:.1f}", mark["text"])


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        kind, f"{x:.1f}", f"{y:.1f}", text
    )


def _picture(parts: Sequence[Markup], label: str) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">{parts}</svg>'
    ).format(w=_WIDTH, h=_HEIGHT, label=label, parts=Markup("").join(parts))


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
