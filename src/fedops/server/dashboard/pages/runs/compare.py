"""Several runs side by side: their curves, their figures, and where their configs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedops.core.contracts import RunRead
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.look import plots
from fedops.server.dashboard.look.configs import differences
from fedops.server.dashboard.look.numbers import is_share
from fedops.server.dashboard.pages.runs.run_learning import chosen_metric, thinned
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.runs import control, learning, views

#: So many runs at once; so many metrics and settings in a table; so many others are offered.
MOST_RUNS, _MOST_ROWS, _OFFERED = 6, 60, 12
PATH = "/runs/compare"


def compared(view: View) -> dict[str, Any]:
    """The runs that the address names, and what they have in common and not."""
    ids = _wanted(view)
    runs = sorted(_read(view, ids), key=lambda run: ids.index(run.id))
    unknown = [one for one in ids if one not in {run.id for run in runs}]
    curves = {run.id: learning.measured_rounds(view.session, run.id) for run in runs}
    names = sorted({name for found in curves.values() for one in found for name in one.metrics})
    name = chosen_metric(names, view.query.get("metric", ""))
    chart = _chart(runs, curves, name)
    return {
        "runs": runs,
        "problem": f"there is no run {', '.join(map(str, unknown))}" if unknown else "",
        "name": name,
        "metrics": [(one, address(PATH, view.query, metric=one)) for one in names[:12]],
        "chart": chart,
        "picture": plots.lines(chart, f"{name} over rounds, a line for each run") if chart else "",
        "figures": _figures(runs)[:_MOST_ROWS],
        "took": [_took(run, view.now) for run in runs],
        "config": list(differences([run.config for run in runs]).items())[:_MOST_ROWS],
        "without": {run.id: _address(view, [i for i in ids if i != run.id]) for run in runs},
        "others": _others(view, runs),
    }


def _wanted(view: View) -> list[int]:
    """The numbers in the address, each once, at most ``MOST_RUNS``."""
    texts = view.query.get("runs", "").replace(",", " ").split()
    numbers = [n for text in texts if (n := whole_number(text)) is not None]
    return list(dict.fromkeys(numbers))[:MOST_RUNS]


def _read(view: View, ids: Sequence[int]) -> list[RunRead]:
    """Those of them that there are, and that this user is told of."""
    settings = view.services.settings
    found = views.read_runs(view.session, ids, settings, view.now, view.tasks)
    return [run for run in found if view.tasks is None or run.task in view.tasks]


def _chart(
    runs: Sequence[RunRead], curves: Mapping[int, Sequence[learning.Measured]], name: str
) -> dict[str, Any] | None:
    """One line a run over the rounds of all."""
    values = {
        id_: {one.round: one.metrics[name] for one in found if name in one.metrics}
        for id_, found in curves.items()
    }
    xs = sorted({number for found in values.values() for number in found})
    if not xs:
        return None
    series = [
        {"name": f"run {run.id}", "values": [values[run.id].get(x) for x in xs]}
        for run in runs
        if values[run.id]
    ]
    chart = thinned(xs, series)
    return {
        "kind": "lines",
        **chart,
        "x": {"name": "round", "values": chart["xs"]},
        "y": {"name": name, "share": is_share(name)},
    }


def _figures(runs: Sequence[RunRead]) -> list[tuple[str, list[float | None], int | None]]:
    """Each metric of what the runs came to, and which of them is best at it."""
    names = sorted({name for run in runs for name in run.metrics})
    rows = [(name, [run.metrics.get(name) for run in runs]) for name in names]
    return [(name, values, _best(name, values)) for name, values in rows]


def _best(name: str, values: Sequence[float | None]) -> int | None:
    known = [value for value in values if value is not None]
    if len(set(known)) < 2 or not (is_share(name) or "loss" in name):
        return None
    return values.index(max(known) if is_share(name) else min(known))


def _took(run: RunRead, now: float) -> float | None:
    return None if run.started_at is None else (run.ended_at or now) - run.started_at


def _others(view: View, runs: Sequence[RunRead]) -> list[tuple[int, str]]:
    """Other runs, of the same task first of all, with the address that adds them."""
    if len(runs) >= MOST_RUNS:
        return []
    ids = [run.id for run in runs]
    near = _newest(view, runs[0].task) if runs else []
    offered = dict.fromkeys(one for one in [*near, *_newest(view, None)] if one not in ids)
    return [(one, _address(view, [*ids, one])) for one in list(offered)[:_OFFERED]]


def _newest(view: View, task: str | None) -> list[int]:
    return control.run_ids(view.session, task, _OFFERED + MOST_RUNS, view.tasks)


def _address(view: View, ids: Sequence[int]) -> str:
    return address(PATH, view.query, runs=",".join(map(str, ids)) or None).replace("%2C", ",")


PAGES = (
    Page(
        path=PATH,
        template="runs/compare.html",
        section="runs",
        title=lambda view: "Compare runs",
        panels=lambda view: (Panel("compared", "runs/compared.html", compared),),
        concerns=any_event,
    ),
)
