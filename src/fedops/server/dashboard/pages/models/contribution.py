"""Contribution: what each client is worth, how honest its updates are, and why it was chosen."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import ClientStanding, ContributionsRead
from fedops.server.contribution import score_views
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.look.numbers import number
from fedops.server.dashboard.pages.models import charting
from fedops.server.dashboard.pages.models.choosing import run_in, task_of
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.view import View
from fedops.server.tasks import tasks

#: Up to so many clients are all shown; of more, the best and the worst.
_ALL, _ENDS = 40, 15
#: Lines over rounds: so many clients, so many rounds, and so many scores read for them.
_LINES, _ROUNDS, _SCORES = 6, 100, 20_000
_DECISIONS = 40
#: Below this a client's updates are worse than its fellows' by far (0 is typical).
_LOW = -3.0


def scored_run(view: View) -> int | None:
    """The run that is shown: the one that the address names, or the newest with scores."""

    def read() -> int | None:
        task = view.query.get("task") or None
        return run_in(view) or score_views.newest_scored(view.session, task, view.tasks)

    return view.once("scored_run", read)


def standings(view: View) -> ContributionsRead | None:
    """All clients as they stood after the newest scored round."""
    run_id = scored_run(view)
    if run_id is None:
        return None
    return view.once("standings", lambda: score_views.standings_after(view.session, run_id))


def head(view: View) -> dict[str, Any]:
    """Which task and run, and what is to be seen."""
    run_id, found = scored_run(view), standings(view)
    clients = found.clients if found else []
    flagged = [one for one in clients if one.findings]
    return {
        "task": task_of(view, run_id),
        "run_id": run_id,
        "tasks": tasks.task_names(view.session, view.tasks),
        "found": found,
        "clients": clients,
        "flagged": flagged,
        "below": [one for one in clients if harms(one)],
        "query": view.query.get("q", "")[:63],
    }


def scatter(view: View) -> dict[str, Any]:
    """Value against integrity: each client a dot."""
    found = standings(view)
    clients = [one for one in (found.clients if found else []) if one.integrity is not None]
    points = [
        {
            "x": round(one.integrity or 0.0, 4),
            "y": one.value,
            "error": one.value_error,
            "name": one.device,
            "tone": tone_of(one),
        }
        for one in clients
    ]
    chart = charting.scatter("integrity (0 is typical)", _value_name(found), points)
    label = "Each client as a dot: its value over its integrity"
    return {
        **charting.shown(chart, label),
        "count": len(points),
        "basis": found.basis if found else {},
    }


def tone_of(one: ClientStanding) -> str:
    """Flagged, worth less than nothing, or good."""
    if one.findings or (one.integrity is not None and one.integrity < _LOW):
        return "now"
    return "soon" if harms(one) else "good"


def harms(one: ClientStanding) -> bool:
    """Whether it made the model worse, by more than the error explains."""
    return one.value + 2 * one.value_error < 0


def _value_name(found: ContributionsRead | None) -> str:
    metric = found.basis.get("metric") if found else None
    return f"value ({metric})" if metric else "value"


def over_rounds(view: View) -> dict[str, Any]:
    """What the updates of some clients were worth in each round: the best and the worst."""
    run_id, found = scored_run(view), standings(view)
    clients = found.clients if found else []
    half = _LINES // 2
    few = clients if len(clients) <= _LINES else [*clients[:half], *clients[-half:]]
    names = [one.device for one in few]
    rounds = max(5, min(_ROUNDS, _SCORES // max(len(clients), 1)))
    values = score_views.values_by_round(view.session, run_id, set(names), rounds) if run_id else {}
    series = {name: [one.get(name) for one in values.values()] for name in names}
    chart = charting.lines("round", _value_name(found), list(values), series)
    return {
        **charting.shown(chart, "The value of each round's update, a line for each client"),
        "rounds": len(values),
        "shown": len(names),
        "total": len(clients),
        "run_id": run_id,
    }


def table(view: View) -> dict[str, Any]:
    """Each client: value ± error, share, integrity, flags. Of many, the best and the worst."""
    found = standings(view)
    clients = found.clients if found else []
    places = {one.device: place for place, one in enumerate(clients, 1)}
    wanted = view.query.get("q", "")[:63].strip().lower()
    rows, left_out = _shown(clients, wanted, bool(view.query.get("all")))
    positive = sum(max(one.value, 0.0) for one in clients)
    return {
        "rows": rows,
        "places": places,
        "left_out": left_out,
        "total": len(clients),
        "query": wanted,
        "positive": positive,
        "largest": max((abs(one.value) + one.value_error for one in clients), default=0.0),
        "all": address(
            "/contribution", {}, task=view.query.get("task"), run=view.query.get("run"), all=1
        ),
        "tone_of": tone_of,
        "bar_of": bar_of,
    }


def _shown(
    clients: list[ClientStanding], wanted: str, everything: bool
) -> tuple[list[ClientStanding], int]:
    matching = [one for one in clients if wanted in one.device.lower()]
    flagged = [one for one in matching if one.findings]
    others = [one for one in matching if not one.findings]
    if len(matching) <= _ALL or everything:
        return [*flagged, *others][:1_000], 0
    if wanted:
        return [*flagged, *others][:_ALL], len(matching) - _ALL
    few = [*flagged[:_ENDS], *others[:_ENDS], *others[-_ENDS:]]
    return few, len(matching) - len(few)


def bar_of(value: float, error: float, largest: float) -> dict[str, str]:
    """Where a bar of this value begins and how long it is, and its error's, in a box of 120 by 14."""
    scale = 58 / largest if largest > 0 else 0.0
    length = abs(value) * scale
    begin = 60.0 if value >= 0 else 60.0 - length
    low, high = 60 + (value - error) * scale, 60 + (value + error) * scale
    places = {"x": begin, "width": max(length, 1.0), "low": max(low, 1), "high": min(high, 119)}
    label = f"{number(value)} ± {number(error)}"
    return {**{name: f"{place:.1f}" for name, place in places.items()}, "label": label}


def selection(view: View) -> dict[str, Any]:
    """Whom the newest round chose, and why; why not the others."""
    run_id = scored_run(view)
    found = score_views.selections(view.session, run_id, None, 1) if run_id else []
    newest = found[0] if found else None
    wanted = view.query.get("q", "")[:63].strip().lower()
    every = [one for one in (newest.decisions if newest else []) if wanted in one.device.lower()]
    decisions = sorted(every, key=lambda one: (not one.chosen, -(one.score or 0.0), one.device))
    return {
        "newest": newest,
        "decisions": decisions[:_DECISIONS],
        "total": len(every),
        "chosen": sum(one.chosen for one in every),
    }


PAGES = (
    Page(
        path="/contribution",
        template="contribution/page.html",
        section="models",
        title=lambda view: "Contribution",
        panels=lambda view: (
            Panel("head", "contribution/head.html", head),
            Panel("scatter", "contribution/scatter.html", scatter, on=("round.",)),
            Panel("rounds", "contribution/rounds.html", over_rounds, on=("round.",)),
            Panel("table", "contribution/table.html", table, on=("round.",)),
            Panel("selection", "contribution/selection.html", selection, on=("round.",)),
        ),
        concerns=any_event,
    ),
)
