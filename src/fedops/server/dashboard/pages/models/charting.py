"""Charts in the shapes that the script and the pictures take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedops.server.dashboard.look import plots


def shown(chart: Mapping[str, Any], label: str) -> dict[str, Any]:
    """A chart as the templates take it: with a picture for those without the scripts."""
    draw = plots.scatter if chart["kind"] == "scatter" else plots.lines
    return {"chart": chart, "picture": draw(chart, label)}


def lines(
    x: str, y: str, numbers: Sequence[int], series: Mapping[str, Sequence[float | None]]
) -> dict[str, Any]:
    """Lines over rounds; None where there is no value."""
    return {
        "kind": "lines",
        "x": {"name": x, "values": list(numbers)},
        "y": {"name": y},
        "series": [{"name": name, "values": list(values)} for name, values in series.items()],
    }


def scatter(x: str, y: str, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Dots with their names."""
    return {"kind": "scatter", "x": {"name": x}, "y": {"name": y}, "points": list(points)}
