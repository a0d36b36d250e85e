"""Small pictures as SVG: sparklines. They carry classes, and the style sheet their colours."""

from __future__ import annotations

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
