"""Small pictures as SVG: sparklines. They carry classes, and the style sheet their colours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

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


#: The box of pictures over time, which the style sheet makes as wide as there is room.
_WIDE, _HIGH = 1_000.0, 30.0
#: A line is interrupted where there was no sample for so many times as long as usual.
_GAP = 4.0


def over_time(points: Sequence[tuple[float, float | None]], label: str) -> Markup:
    """Values at moments (seconds, in order) as a line from the first moment to the last."""
    known = [(at, value) for at, value in points if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return Markup('<span class="none">–</span>')
    low, high = min(value for _, value in known), max(value for _, value in known)
    begin, length = points[0][0], max(points[-1][0] - points[0][0], 1.0)
    pauses = sorted(b[0] - a[0] for a, b in itertools.pairwise(known))
    usual = max(pauses[len(pauses) // 2], 1.0)
    lines: list[list[str]] = [[]]
    last = known[0][0]
    for at, value in known:
        if at - last > _GAP * usual:
            lines.append([])
        share = (value - low) / (high - low) if high > low else 0.5
        lines[-1].append(
            f"{_WIDE * (at - begin) / length:.1f},{_HIGH - 2 - share * (_HIGH - 4):.1f}"
        )
        last = at
    drawn = Markup("").join(Markup('<polyline points="{}"/>').format(" ".join(x)) for x in lines)
    return _over_time("sparkline", label, drawn)


def bands(
    spans: Sequence[tuple[float, float, str, str]], begin: float, end: float, label: str
) -> Markup:
    """Spans of time (begin, end, tone, what it was) as boxes on the axis from ``begin`` to ``end``."""
    scale = _WIDE / max(end - begin, 1.0)
    drawn = Markup("").join(
        Markup(
            '<rect class="share-{tone}" x="{x}" y="0" width="{w}" height="30"><title>{text}</title></rect>'
        ).format(
            tone=tone,
            x=f"{(max(a, begin) - begin) * scale:.1f}",
            w=f"{max((min(b, end) - max(a, begin)) * scale - 1.0, 1.0):.1f}",
            text=text,
        )
        for a, b, tone, text in spans
    )
    return _over_time("bands", label, drawn)


def _over_time(kind: str, label: str, drawn: Markup) -> Markup:
    return Markup(
        '<svg class="{kind} over-time" viewBox="0 0 1000 30" preserveAspectRatio="none" role="img" '
        'aria-label="{label}">{drawn}</svg>'
    ).format(kind=kind, label=label, drawn=drawn)
