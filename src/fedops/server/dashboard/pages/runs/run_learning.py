"""How a run's model does after each round, and whether it is better than what serves now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedops.core.errors import NotFound
from fedops.server.dashboard.look import plots
from fedops.server.dashboard.look.numbers import is_share, metric
from fedops.server.dashboard.look.sampling import MOST_POINTS, largest_triangles
from fedops.server.dashboard.pages.runs.run_page import here, run_of
from fedops.server.dashboard.web.view import View
from fedops.server.models import versions
from fedops.server.runs import learning
from fedops.server.runs.learning import Measured

#: So many clients can have a line each, and so many metrics a link.
MOST_CLIENTS, _MOST_NAMES = 20, 12
_SERVING = "serving"


def learned(view: View) -> dict[str, Any]:
    """The curve of one metric, with the spread over the clients or a line for each."""
    run = run_of(view)
    rounds = learning.measured_rounds(view.session, run.id)
    names = sorted({name for one in rounds for name in one.metrics})
    name = chosen_metric(names, view.query.get("metric", ""))
    known = [(one.round, one.metrics[name]) for one in rounds if name in one.metrics]
    clients = (learning.client_values(view.session, run.id, name) or {}) if known else {}
    serving = _serving(view, run.task, name)
    spread = learning.client_spread(view.session, run.id, name) if known else {}
    data = {
        "run": run,
        "name": name,
        "metrics": [(one, here(view, metric=one)) for one in _offered(names, name)],
        "known": known,
        "best": _best(known, name),
        "serving": serving,
        "by_time": view.query.get("x") == "time",
        "other_x": here(view, x=None if view.query.get("x") == "time" else "time"),
        "with_clients": view.query.get("clients") == "1",
        "other_clients": here(view, clients=None if view.query.get("clients") == "1" else 1),
        "clients": len(clients),
        "spread": spread,
        # A single client that evaluates has no spread that one could see.
        "shows_band": len(spread) > 1 and any(low < high for low, high in spread.values()),
        "many": len(clients) > MOST_CLIENTS,
        "points": len(rounds),
        "most_points": MOST_POINTS,
    }
    if len(known) < 2:
        return {**data, "chart": None, "picture": ""}
    chart = _chart(view, data, rounds, clients)
    return {**data, "chart": chart, "picture": plots.lines(chart, f"{name} over rounds")}


def chosen_metric(names: Sequence[str], wanted: str) -> str:
    """The metric that was asked for, else accuracy, loss, or the first there is; "" without any."""
    for name in (wanted, "accuracy", "loss"):
        if name in names:
            return name
    return names[0] if names else ""


def _offered(names: Sequence[str], chosen: str) -> list[str]:
    first = [name for name in ("accuracy", "loss", chosen) if name in names]
    return list(dict.fromkeys([*first, *names]))[:_MOST_NAMES]


def _best(known: Sequence[tuple[int, float]], name: str) -> tuple[int, float] | None:
    """The round with the best value: the highest of a share, the lowest of a loss."""
    if not known or not (is_share(name) or "loss" in name):
        return None
    return (max if is_share(name) else min)(known, key=lambda one: one[1])


def _serving(view: View, task: str, name: str) -> tuple[int, float] | None:
    """The version that serves, and its value of the metric."""
    try:
        version = versions.read_version(view.session, task, _SERVING)
    except NotFound:
        return None
    value = version.metrics.get(name)
    return None if value is None else (version.version, value)


def _chart(
    view: View,
    data: Mapping[str, Any],
    rounds: Sequence[Measured],
    clients: Mapping[str, Mapping[int, float]],
) -> dict[str, Any]:
    name, by_time = data["name"], data["by_time"]
    own = line_of(rounds, name)
    apart = data["with_clients"] and not data["many"]
    series: list[dict[str, Any]] = [{"name": "global", "values": own}]
    if apart:
        series += [
            {"name": one, "values": [said.get(r.round) for r in rounds], "faint": True}
            for one, said in clients.items()
        ]
    elif data["spread"]:
        series[0]["band"] = _band(rounds, data["spread"])
    xs = [one.at if by_time else one.round for one in rounds]
    chart = thinned(xs, series)
    return {
        "kind": "lines",
        **chart,
        "x": {"name": "time" if by_time else "round", "values": chart["xs"], "time": by_time},
        "y": {"name": name, "share": is_share(name)},
        "marks": _marks(data, rounds, xs),
    }


def line_of(rounds: Sequence[Measured], name: str) -> list[float | None]:
    """A metric over the rounds; None where it was not measured."""
    return [one.metrics.get(name) for one in rounds]


def thinned(xs: Sequence[float], series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The series with at most so many points as a chart takes, chosen by the first line."""
    if len(xs) <= MOST_POINTS:
        return {"xs": list(xs), "series": list(series), "sampled": False}
    filled = _filled(series[0]["values"])
    kept = largest_triangles(xs, filled, MOST_POINTS)
    return {
        "xs": [xs[i] for i in kept],
        "series": [_kept(one, kept) for one in series],
        "sampled": True,
    }


def _filled(values: Sequence[float | None]) -> list[float]:
    last, found = 0.0, []
    for value in values:
        last = last if value is None else value
        found.append(last)
    return found


def _kept(one: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    band = one.get("band")
    made = {**one, "values": [one["values"][i] for i in kept]}
    if band:
        edges = {edge: [band[edge][i] for i in kept] for edge in ("low", "high")}
        made["band"] = {**band, **edges}
    return made


def _band(rounds: Sequence[Measured], spread: Mapping[int, tuple[float, float]]) -> dict[str, Any]:
    """Where the middle eight tenths of the clients were; a gap where that is not known."""
    edges = [spread.get(one.round, (None, None)) for one in rounds]
    low, high = [one[0] for one in edges], [one[1] for one in edges]
    return {"name": "most clients", "low": low, "high": high}


def _marks(
    data: Mapping[str, Any], rounds: Sequence[Measured], xs: Sequence[float]
) -> list[dict[str, Any]]:
    """The version that the run made, and the value of the one that serves if it is anywhere near."""
    marks: list[dict[str, Any]] = []
    run, serving = data["run"], data["serving"]
    if run.version is not None and run.version > 0 and len(rounds) > 1:
        marks.append({"x": xs[-1], "text": f"V{run.version}"})
    values = [value for _, value in data["known"]]
    room = max(values) - min(values)
    if serving and min(values) - room <= serving[1] <= max(values) + room:
        text = f"V{serving[0]} serving {metric(serving[1], data['name'])}"
        marks.append({"y": serving[1], "text": text})
    return marks
