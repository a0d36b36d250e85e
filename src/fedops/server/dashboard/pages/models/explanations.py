"""Explanations: what the models on the devices look at, round by round, as far as owners let it be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fedops.core.contracts import ExplanationRead
from fedops.core.errors import NotFound
from fedops.explain.quality.drift import jump_limit
from fedops.server.access.principal import Principal
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.pages.models import charting
from fedops.server.dashboard.pages.models.choosing import newest_runs, run_in, task_of
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.resources import Resource
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.runs import control
from fedops.server.services.services import Services
from fedops.server.tasks import tasks
from fedops.server.telemetry import explanations

#: How many sheets a page shows, how many rounds a strip, how many devices the drift curve.
_SHEETS, _STRIP, _CURVES = 60, 40, 6
_PICTURE = "GET /runs/{run_id}/explanations/{device}/{picture}"


def run_of(view: View) -> int | None:
    """The run that is shown: the one that the address names, or the newest that was explained."""

    def read() -> int | None:
        known = explanations.explained_runs(view.session, newest_runs(view))
        return run_in(view) or (known[0] if known else None)

    return view.once("run", read)


def rounds_of(view: View) -> list[int]:
    """The rounds of it that anything is known of."""
    run_id = run_of(view)
    if run_id is None:
        return []
    return view.once("rounds", lambda: explanations.explained_rounds(view.session, run_id))


def round_of(view: View) -> int | None:
    """The round that is shown: the one that the address names, or the newest."""
    rounds = rounds_of(view)
    asked = whole_number(view.query.get("round", ""))  # 0: before any training
    return (rounds[-1] if rounds else None) if asked is None else asked


def device_of(view: View) -> str:
    """The device that the address names."""
    return view.query.get("device", "")[:127]


def place(view: View, **changed: object) -> str:
    """This page, with something else chosen."""
    kept = {name: view.query.get(name) for name in ("task", "run", "round", "device")}
    return address("/explanations", {}, **{**kept, **changed})


def head(view: View) -> dict[str, Any]:
    """Which run, which round, and what is to be seen in it."""
    run_id = run_of(view)
    task = task_of(view, run_id)
    runs = control.run_ids(view.session, task, 30, view.tasks) if task else []
    return {
        "run_id": run_id,
        "task": task,
        "tasks": tasks.task_names(view.session, view.tasks),
        "runs": explanations.explained_runs(view.session, runs),
        "rounds": rounds_of(view),
        "round": round_of(view),
        "device": device_of(view),
        "devices": sorted({one.device for one in _of_round(view)}),
        "place": lambda **changed: place(view, **changed),
    }


def _of_round(view: View) -> list[ExplanationRead]:
    """Everything of the round that is shown, those with alarms first."""
    run_id, number = run_of(view), round_of(view)
    if run_id is None or number is None:
        return []

    def read() -> list[ExplanationRead]:
        found = explanations.list_explanations(view.session, run_id, number)
        return sorted(found, key=lambda one: (not one.alarms, not one.pictures, one.device))

    return view.once("of_round", read)


def gallery(view: View) -> dict[str, Any]:
    """The contact sheets of a round, device by device; what was kept on a device is said."""
    found = _of_round(view)
    return {
        "run_id": run_of(view),
        "round": round_of(view),
        "found": found[:_SHEETS],
        "total": len(found),
        "with_pictures": sum(bool(one.pictures) for one in found),
        "sees": view.may(_PICTURE),
        "place": lambda **changed: place(view, **changed),
        "scores_of": scores_of,
    }


def strip(view: View) -> dict[str, Any]:
    """One device over the rounds, and its newest scores."""
    run_id, device = run_of(view), device_of(view)
    found = (
        explanations.list_explanations(view.session, run_id, None, device)
        if run_id and device
        else []
    )
    return {
        "run_id": run_id,
        "device": device,
        "round": round_of(view),
        "strip": [one for one in found if one.pictures][-_STRIP:],
        "known": len(found),
        "quality": _quality(found),
        "sees": view.may(_PICTURE),
        "place": lambda **changed: place(view, **changed),
    }


def _quality(found: Sequence[ExplanationRead]) -> list[tuple[str, list[float | None]]]:
    """Each score over the rounds, but those of drift, which have a curve of their own."""
    names = sorted({n for one in found for n in one.scores if "over_rounds" not in n})
    kept = [name for name in names if not name.endswith("/alarm")]
    return [(name, [one.scores.get(name) for one in found]) for name in kept][:40]


def scores_of(one: ExplanationRead) -> list[tuple[str, float]]:
    """The few scores that say how far an explanation can be trusted."""
    wanted = ("deletion", "insertion", "cosine")
    found = [(n, v) for n, v in sorted(one.scores.items()) if n.rpartition("/")[2] in wanted]
    return [(n.replace("/", " · ").replace("_", " "), v) for n, v in found][:4]


def drift(view: View) -> dict[str, Any]:
    """How far the maps moved since the round before, with the threshold, and all alarms."""
    run_id, device = run_of(view), device_of(view)
    here = _of_round(view)
    name = next((n for one in here for n in one.scores if _is_drift(n)), "")
    devices = [device] if device else [one.device for one in here if name in one.scores][:_CURVES]
    found: dict[str, dict[int, float]] = {}
    if run_id and name:
        since = max(0, (round_of(view) or 0) - 200)
        found = explanations.score_over_rounds(view.session, run_id, name, devices, since)
    numbers = sorted({number for values in found.values() for number in values})
    series = {who: [values.get(n) for n in numbers] for who, values in found.items()}
    alarms = explanations.alarms_of_run(view.session, run_id) if run_id else []
    chosen = [alarm for alarm in alarms if not device or alarm[0] == device]
    chart = charting.lines("round", "distance to the round before", numbers, series)
    if len(series) == 1:
        limit = threshold(next(iter(series.values())))
        chart["series"].append({"name": "alarm above", "values": limit, "faint": True})
    # Whose they are is in the list below: names of neighbouring rounds would lie on each other.
    alarmed = sorted({number for _, number, _ in chosen[:10]})
    chart["marks"] = [{"x": number, "text": "▲"} for number in alarmed]
    return {
        **charting.shown(chart, "How far the maps moved since the round before, by device"),
        "name": name.replace("/", " · ").replace("_", " "),
        "points": len(numbers),
        "devices": devices,
        "alarms": chosen[:20],
        "total": len(chosen),
        "device": device,
        "place": lambda **changed: place(view, **changed),
    }


def _is_drift(name: str) -> bool:
    return "over_rounds" in name and name.endswith("/worst")


def threshold(values: Sequence[float | None]) -> list[float | None]:
    """Above which distance a device gives an alarm in each round, by what was usual before it."""
    limits: list[float | None] = []
    known: list[float] = []
    for value in values:
        limits.append(jump_limit(known))
        known += [] if value is None else [value]
    return limits


def large(view: View) -> dict[str, Any]:
    """One contact sheet as large as the window, when the address names one."""
    device, picture = device_of(view), view.query.get("picture", "")[:64]
    run_id = run_of(view)
    if not (picture and device and run_id):
        return {"picture": ""}
    number = round_of(view)
    every = explanations.list_explanations(view.session, run_id, None, device)
    with_pictures = [one for one in every if one.pictures]
    at = next((i for i, one in enumerate(with_pictures) if picture in one.pictures), None)
    if at is None:
        raise NotFound(f"run {run_id} has no picture {picture} of device '{device}'")
    one = with_pictures[at]
    return {
        "picture": picture,
        "run_id": run_id,
        "device": device,
        "round": number,
        "one": one,
        "before": with_pictures[at - 1] if at else None,
        "after": with_pictures[at + 1] if at + 1 < len(with_pictures) else None,
        "sees": view.may(_PICTURE),
        "place": lambda **changed: place(view, **changed),
    }


async def _picture(request: Request, services: Services, who: Principal) -> Response:
    """A contact sheet: a PNG, which never changes."""
    path = request.path_params

    run_id, device, id_ = int(path["run_id"]), path["device"], path["picture"]
    sheet = await services.look(lambda s: explanations.read_contact_sheet(s, run_id, device, id_))
    headers = {
        "X-Content-Type-Options": "nosniff",
        "cache-control": "private, max-age=86400, immutable",
    }
    return Response(sheet, media_type="image/png", headers=headers)


PAGES = (
    Page(
        path="/explanations",
        template="explanations/page.html",
        section="models",
        title=lambda view: "Explanations",
        panels=lambda view: (
            Panel("head", "explanations/head.html", head),
            Panel("large", "explanations/large.html", large),
            Panel("strip", "explanations/strip.html", strip),
            Panel("gallery", "explanations/gallery.html", gallery),
            Panel("drift", "explanations/drift.html", drift),
        ),
        concerns=any_event,
    ),
)
RESOURCES = (Resource("/runs/{run_id}/explanations/{device}/{picture}", _picture),)
