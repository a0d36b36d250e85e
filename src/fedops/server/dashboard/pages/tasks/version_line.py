"""Is a task getting better? Its versions on a line, with those that are named, and the newest as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from fedops.core.contracts import AliasRead
from fedops.server.dashboard.look import plots
from fedops.server.dashboard.look.numbers import is_share
from fedops.server.dashboard.pages.tasks.task_page import here, task_of
from fedops.server.dashboard.web.view import View
from fedops.server.models import aliases, version_line, versions
from fedops.server.models.version_line import VersionPoint

_VERSIONS, _LINE, _METRICS = 12, 500, 8
_FIRST = ("accuracy", "loss")


def line(view: View) -> dict[str, Any]:
    """The versions over their numbers or over time, by one metric, and the newest ones."""
    task = task_of(view)
    points = version_line.version_line(view.session, task.name, _LINE)
    sound = [one for one in points if not one.quarantined]
    names = sorted({name for one in sound for name in one.metrics}, key=_place)[:_METRICS]
    asked = view.query.get("metric", "")
    name = asked if asked in names else (names[0] if names else "")
    known = aliases.list_aliases(view.session, task.name)
    named = {one.name: one.version for one in known if one.name != versions.LATEST}
    by_time = view.query.get("x") == "time"
    chart = _chart([one for one in sound if name in one.metrics], name, named, by_time)
    return {
        "task": task,
        "versions": versions.list_versions(view.session, task.name, newest=_VERSIONS)[::-1],
        "gains": _gains(sound, name),
        "name": name,
        "metrics": [(one, here(view, metric=one)) for one in names],
        "chart": chart,
        "picture": plots.lines(chart, f"{name} of the versions of {task.name}") if chart else "",
        "by_time": by_time,
        "other_x": here(view, x=None if by_time else "time"),
        "left_out": len(points) - len(sound),
        "backs": [one.name for one in known if _can_go_back(one)],
    }


def _place(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST)), name


def _gains(sound: Sequence[VersionPoint], name: str) -> dict[int, float]:
    """By how much each version is above the one before it."""
    return {
        after.version: after.metrics[name] - before.metrics[name]
        for before, after in pairwise(sound)
        if name in before.metrics and name in after.metrics
    }


def _chart(
    points: Sequence[VersionPoint], name: str, named: Mapping[str, int], by_time: bool
) -> dict[str, Any] | None:
    if len(points) < 2:
        return None
    places = {one.version: one.created_at if by_time else one.version for one in points}
    marks: dict[int, list[str]] = {}
    for alias, version in named.items():
        if version in places:
            marks.setdefault(version, []).append(alias)
    return {
        "kind": "lines",
        "x": {
            "name": "when it was made" if by_time else "version",
            "values": list(places.values()),
            "time": by_time,
        },
        "y": {"name": name, "share": is_share(name)},
        "series": [{"name": name, "values": [one.metrics[name] for one in points]}],
        "marks": [
            {"x": places[version], "text": f"V{version} {', '.join(said)}"}
            for version, said in marks.items()
        ],
    }


def _can_go_back(alias: AliasRead) -> bool:
    return alias.name != versions.LATEST and sum(m.undone_at is None for m in alias.moves) > 1
