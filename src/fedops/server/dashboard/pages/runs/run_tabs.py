"""What stands below a run: one of its tabs, named by the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedops.core.contracts import LogSource, SelectionDecision
from fedops.core.errors import NotFound
from fedops.server.contribution import score_views
from fedops.server.dashboard.look.configs import as_toml
from fedops.server.dashboard.pages.runs.run_page import here, run_of
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.events import event_log
from fedops.server.models import versions
from fedops.server.telemetry import explanations, log_store

_EVENTS, _LINES, _DECISIONS = 30, 200, 200
_LONGEST = 200


def tab(view: View) -> dict[str, Any]:
    """The tab that the address names, else the events."""
    wanted = view.query.get("tab", "")
    key = wanted if wanted in TABS else "events"
    _, read = TABS[key]
    tabs = [
        (word, here(view, tab=name, before=None, round=None), name == key)
        for name, (word, _) in TABS.items()
    ]
    return {"run": run_of(view), "tabs": tabs, "part": f"run/tab_{key}.html", **read(view)}


def _events(view: View) -> dict[str, Any]:
    """What happened in it, newest first."""
    before = whole_number(view.query.get("before", ""))
    found = event_log.newest_of_run(view.session, run_of(view).id, _EVENTS + 1, before)
    older = here(view, before=found[_EVENTS - 1].id) if len(found) > _EVENTS else ""
    newest = here(view, before=None) if before else ""
    return {"events": found[:_EVENTS], "older": older, "newest": newest}


def _logs(view: View) -> dict[str, Any]:
    """What its programs logged: the newest lines, which go on, or those before one."""
    query, run = view.query, run_of(view)
    before, problem = whole_number(query.get("before", "")), ""
    source = query.get("source", "")
    sought = log_store.Sought(
        device=query.get("device", "").strip()[:_LONGEST] or None,
        number=whole_number(query.get("round", "")),
        source=LogSource(source) if source in list(LogSource) else None,
        text=query.get("text", "").strip()[:_LONGEST],
        level=query.get("level", ""),
    )
    found = log_store.NewestLogs([], 0, None)
    try:
        found = log_store.newest_run_logs(view.session, run.id, sought, _LINES, before)
    except NotFound as error:
        problem = error.message
    return {
        "found": found,
        "problem": problem,
        "sources": [one.value for one in LogSource],
        "levels": log_store.LEVELS,
        "looked_through": log_store.LOOKED_THROUGH,
        "filtered": not sought.everything,
        "older": here(view, before=found.older) if found.older else "",
        "newest": here(view, before=None) if before else "",
        "plain": here(
            view, **dict.fromkeys(("before", "device", "round", "source", "text", "level"))
        ),
    }


def _selection(view: View) -> dict[str, Any]:
    """Whom one round chose, and why not the others."""
    asked = whole_number(view.query.get("round", ""))
    found = score_views.selections(view.session, run_of(view).id, asked, 1)
    one = found[0] if found else None
    decisions = sorted(one.decisions, key=_first_chosen) if one else []
    return {
        **_one_round(view, one.round if one else None, asked),
        "chosen": sum(each.chosen for each in decisions),
        "decisions": decisions[:_DECISIONS],
        "all": len(decisions),
    }


def _first_chosen(one: SelectionDecision) -> tuple[bool, float, str]:
    return not one.chosen, -(one.score if one.score is not None else -1e300), one.device


def _contribution(view: View) -> dict[str, Any]:
    """What each client's update of one round was worth, beside what is held against it."""
    asked = whole_number(view.query.get("round", ""))
    found = score_views.round_scores(view.session, run_of(view).id, asked, 1)
    one = found[0] if found else None
    scores = sorted(one.scores, key=lambda each: -(each.value or 0.0)) if one else []
    of_round = _one_round(view, one.round if one else None, asked)
    return {**of_round, "scored": one, "scores": scores[:_DECISIONS], "all": len(scores)}


def _one_round(view: View, shown: int | None, asked: int | None) -> dict[str, Any]:
    """The round that is shown, and the ways to its neighbours."""
    last = run_of(view).committed_rounds + 1
    at = shown or asked
    return {
        "round": at,
        "earlier": here(view, round=at - 1) if at and at > 1 else "",
        "later": here(view, round=at + 1) if at and at < last else "",
        "newest_round": here(view, round=None) if asked else "",
    }


def _config(view: View) -> dict[str, Any]:
    """Its config as it saw it, without secrets."""
    return {"toml": as_toml(run_of(view).config)}


def _explanations(view: View) -> dict[str, Any]:
    """How much there is to see of what its models look at."""
    return {"explained": explanations.summary(view.session, run_of(view).id)}


def _versions(view: View) -> dict[str, Any]:
    """The versions that it made."""
    run = run_of(view)
    return {"versions": versions.versions_of_run(view.session, run.task, run.id)}


_Read = Callable[[View], dict[str, Any]]
TABS: Mapping[str, tuple[str, _Read]] = {
    "events": ("Events", _events),
    "logs": ("Logs", _logs),
    "selection": ("Selection", _selection),
    "contribution": ("Contribution", _contribution),
    "config": ("Config as run", _config),
    "explanations": ("Explanations", _explanations),
    "versions": ("Versions", _versions),
}
