"""Small pictures as SVG: sparklines, bars. They carry classes, and the style sheet their colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup


def sparkline(
    values: Sequence[float | None], label: str, width: int = 88, height: int = 22
) -> Markup:
    """Values from left to right as a line. ``label`` says it in words. Gaps where a value is missing."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return Markup('<span class="none">–</span>')
    low, high = min(known), max(known)
    step = (width - 4) / max(len(values) - 1, 1)
    lines: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None or not math.isfinite(value):
            lines.append([])
            continue
        share = (value - low) / (high - low) if high > low else 0.5
        lines[-1].append(f"{2 + index * step:.1f},{height - 2 - share * (height - 4):.1f}")
    drawn = Markup("").join(
        Markup('<polyline points="{}"/>').format(" ".join(line)) for line in lines if line
    )
    return Markup(
        '<svg class="sparkline" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" '
        'aria-label="{label}">{drawn}</svg>'
    ).format(w=width, h=height, label=label, drawn=drawn)


_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 64, 10, 26


def curve(
    xs: Sequence[int],
    values: Sequence[float | None],
    name: str,
    text: Callable[[float], str],
    width: int = 620,
    height: int = 200,
) -> Markup:
    """Values over rounds as a line with its axes. ``text`` writes a value of the y axis.

    The y axis fits the values. Rounds without a value are gaps. At least two values are needed.
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    if len(known) < 2:
        return Markup("")
    low, high = min(known), max(known)
    spread = (high - low) or abs(high) or 1.0
    low, high = low - 0.05 * spread, high + 0.05 * spread

    def at(x: int, value: float) -> tuple[float, float]:
        across = (x - xs[0]) / max(xs[-1] - xs[0], 1)
        up = (value - low) / (high - low)
        return (
            _LEFT + across * (width - _LEFT - _RIGHT),
            height - _BOTTOM - up * (height - _TOP - _BOTTOM),
        )

    points = [
        (x, v, at(x, v))
        for x, v in zip(xs, values, strict=True)
        if v is not None and math.isfinite(v)
    ]
    parts = [*_grid_lines(low, high, text, at, xs, height), *_line(points, name, text)]
    return Markup(
        '<svg class="curve" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">{parts}</svg>'
    ).format(
        w=width,
        h=height,
        label=f"{name} over rounds, from {text(known[0])} to {text(known[-1])}",
        parts=Markup("").join(parts),
    )


_At = Callable[[int, float], tuple[float, float]]


def _grid_lines(
    low: float, high: float, text: Callable[[float], str], at: _At, xs: Sequence[int], height: int
) -> Iterator[Markup]:
    for step in range(4):
        value = low + (high - low) * (0.05 + 0.3 * step)
        (left, y), (right, _) = at(xs[0], value), at(xs[-1], value)
        yield Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            f"{left:.1f}", f"{right:.1f}", f"{y:.1f}", f"{y:.1f}"
        )
        yield Markup('<text class="y" x="{}" y="{}">{}</text>').format(
            _LEFT - 8, f"{y + 4:.1f}", text(value)
        )
    for x in sorted({xs[0], xs[len(xs) // 2], xs[-1]}):
        yield Markup('<text class="x" x="{}" y="{}">{}</text>').format(
            f"{at(x, low)[0]:.1f}", height - 8, x
        )


def _line(
    points: Sequence[tuple[int, float, tuple[float, float]]],
    name: str,
    text: Callable[[float], str],
) -> Iterator[Markup]:
    pieces: list[list[str]] = [[]]
    for index, (x, _, (left, top)) in enumerate(points):
        if index and x != points[index - 1][0] + 1:
            pieces.append([])
        pieces[-1].append(f"{left:.1f},{top:.1f}")
    yield from (Markup('<polyline points="{}"/>').format(" ".join(piece)) for piece in pieces)
    for x, value, (left, top) in points if len(points) <= 60 else points[-1:]:
        yield Markup('<circle cx="{}" cy="{}" r="2.5"><title>{}</title></circle>').format(
            f"{left:.1f}", f"{top:.1f}", f"round {x}: {name} {text(value)}"
        )
    _, last, (left, top) = points[-1]
    yield Markup('<text class="last" x="{}" y="{}">{}</text>').format(
        f"{left + 8:.1f}", f"{top + 4:.1f}", text(last)
    )
