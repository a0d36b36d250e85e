"""What was measured over time, a lane for each, under the rounds of that time: causes meet effects.

All lanes have the same axis of time, from 0 to ``WIDTH``; words and numbers stand beside them, as text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, _HEIGHT, _BLOCKS = 1_000, 44, 18


@dataclass(frozen=True)
class Block:
    """Something that lasted: a round. POSIX seconds."""

    begin: float
    end: float
    tone: str
    #: What is said of it on hover.
    text: str


@dataclass(frozen=True)
class Axis:
    """The time that is shown. POSIX seconds."""

    begin: float
    end: float

    def at(self, moment: float) -> float:
        """From 0 to ``WIDTH``; what is outside is put at the edge."""
        share = (moment - self.begin) / ((self.end - self.begin) or 1.0)
        return WIDTH * min(max(share, 0.0), 1.0)


def blocks(axis: Axis, shown: Sequence[Block], label: str) -> Markup:
    """What lasted, as bars on the axis."""
    parts = [
        Markup(
            '<rect class="lane-{}" x="{}" y="2" width="{}" height="{}"><title>{}</title></rect>'
        ).format(
            one.tone,
            f"{axis.at(one.begin):.1f}",
            f"{max(axis.at(one.end) - axis.at(one.begin), 3.0):.1f}",
            _BLOCKS - 4,
            one.text,
        )
        for one in shown
    ]
    return _lane(parts, label, _BLOCKS)


def values(
    axis: Axis,
    moments: Sequence[float],
    measured: Sequence[float | None],
    marks: Sequence[Block],
    label: str,
) -> Markup:
    """What was measured, as a line; where rounds were, the ground is shaded."""
    known = [one for one in measured if one is not None and math.isfinite(one)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    shaded = [
        Markup('<rect class="lane-ground" x="{}" y="0" width="{}" height="{}"/>').format(
            f"{axis.at(one.begin):.1f}",
            f"{max(axis.at(one.end) - axis.at(one.begin), 1.0):.1f}",
            _HEIGHT,
        )
        for one in marks
    ]
    drawn = [
        Markup('<polyline points="{}"/>').format(" ".join(piece))
        for piece in _pieces(axis, moments, measured, low, high)
        if piece
    ]
    return _lane([*shaded, *drawn], label, _HEIGHT)


def _pieces(
    axis: Axis, moments: Sequence[float], measured: Sequence[float | None], low: float, high: float
) -> list[list[str]]:
    """The line in pieces: a missing value is a gap."""
    pieces: list[list[str]] = [[]]
    for moment, value in zip(moments, measured, strict=True):
        if value is None or not math.isfinite(value):
            pieces.append([])
            continue
        share = (value - low) / (high - low) if high > low else 0.5
        y = _HEIGHT - 3 - share * (_HEIGHT - 6)
        pieces[-1].append(f"{axis.at(moment):.1f},{y:.1f}")
    return pieces


def _lane(parts: Sequence[Markup], label: str, height: int) -> Markup:
    return Markup(
        '<svg class="lane" viewBox="0 0 {w} {h}" width="100%" height="{h}" preserveAspectRatio="none" '
        'role="img" aria-label="{label}">{parts}</svg>'
    ).format(w=WIDTH, h=height, label=label, parts=Markup("").join(parts))
