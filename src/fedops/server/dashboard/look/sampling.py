"""Fewer points that look the same: a line of many thousands is thinned before it travels."""

from __future__ import annotations

from collections.abc import Sequence

#: A chart gets so many points of a line at most.
MOST_POINTS = 2_000


def largest_triangles(xs: Sequence[float], ys: Sequence[float], wanted: int) -> list[int]:
    """Which points to keep, ascending: of each bucket the one that spans the largest triangle.

    The first and the last are always kept. The triangle is that of the point kept before, the point itself
    and the mean of the next bucket (Steinarsson 2013). With ``wanted`` below 3 or few points, all are kept.
    """
    count = len(xs)
    if wanted >= count or wanted < 3:
        return list(range(count))
    every = (count - 2) / (wanted - 2)
    edges = [int(step * every) + 1 for step in range(wanted - 1)]  # the last is count - 1
    kept = [0]
    for step in range(wanted - 2):
        begin, end = edges[step], edges[step + 1]
        after = range(end, edges[step + 2] if step + 2 < len(edges) else count)
        mean_x = sum(xs[i] for i in after) / len(after)
        mean_y = sum(ys[i] for i in after) / len(after)
        last = xs[kept[-1]], ys[kept[-1]]
        areas = {i: _area(last, (mean_x, mean_y), (xs[i], ys[i])) for i in range(begin, end)}
        kept.append(max(areas, key=areas.__getitem__))
    return [*kept, count - 1]


def _area(a: tuple[float, float], c: tuple[float, float], b: tuple[float, float]) -> float:
    """Twice the area of a triangle."""
    return abs((a[0] - c[0]) * (b[1] - a[1]) - (a[0] - b[0]) * (c[1] - a[1]))
