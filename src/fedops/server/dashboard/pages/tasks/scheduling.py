"""Schedules of a task: made and changed, fired, paused, resumed, removed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fedops.core.contracts import PromotionRule, SchedulePause, ScheduleRead, ScheduleSet
from fedops.core.contracts.base import require_name
from fedops.core.errors import Invalid, NotFound
from fedops.server.dashboard.pages.tasks.task_page import task_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.schedules import schedules

#: Seconds of the units that an interval may be given in.
UNITS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
KINDS = (
    ("every", "again and again, at an interval"),
    ("cron", "at times by the clock"),
    ("on_commit", "when the task has other code"),
    ("on_new_data", "when the devices have new data"),
    ("on_drift", "when the model has become worse on their data"),
    ("on_demand", "when somebody says so"),
)
_FIRST = {"kind": "every", "every": "1", "unit": "days", "zone": "UTC", "look_seconds": "300"}
_ASKS = {"rule": "better", "margin": "0", "missed": "once"}


def _real(sent: Submission, name: str) -> float:
    """A field that is a number. ``Invalid`` otherwise."""
    try:
        number = float(sent.text(name))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Invalid(f"{name.replace('_', ' ')}: '{sent.text(name)[:40]}' is no number")
    return number


def _trigger(sent: Submission) -> dict[str, Any]:
    """What fires it, of the fields that its kind has."""
    kind = sent.text("kind")
    found: dict[str, Any] = {"kind": kind}
    if kind == "every":
        unit = UNITS.get(sent.text("unit"))
        if unit is None:
            raise Invalid(f"unit: it is one of {', '.join(UNITS)}")
        found["seconds"] = _real(sent, "every") * unit
    elif kind == "cron":
        found |= {"expression": sent.text("expression"), "zone": sent.text("zone") or "UTC"}
    elif kind == "on_new_data" and sent.text("examples"):
        found["examples"] = sent.whole("examples", 1, 2**53)
    elif kind == "on_drift":
        found["metric"] = sent.text("metric") or None
        found |= {name: _real(sent, name) for name in ("worse_by", "psi") if sent.text(name)}
    if kind in ("on_new_data", "on_drift"):
        found["look_seconds"] = _real(sent, "look_seconds")
    return found


def _asked(sent: Submission) -> ScheduleSet:
    rule = {"rule": sent.text("rule"), "metric": sent.text("metric_compared")}
    promotion = PromotionRule.model_validate({**rule, "margin": _real(sent, "margin")})
    return ScheduleSet.model_validate(
        {
            "trigger": _trigger(sent),
            "overrides": sent.lines("overrides"),
            "devices": sent.words("devices"),
            "promotion": promotion,
            "missed": sent.text("missed"),
        }
    )


def given(read: ScheduleRead) -> dict[str, str]:
    """A schedule as the fields of its form."""
    trigger = read.trigger.model_dump(exclude_none=True)
    fields = {**_FIRST, **{name: _written(value) for name, value in trigger.items()}}
    if "seconds" in trigger:
        unit = next(
            u for u in reversed(UNITS) if trigger["seconds"] % UNITS[u] == 0 or u == "seconds"
        )
        fields |= {"every": _written(trigger["seconds"] / UNITS[unit]), "unit": unit}
    return fields | {
        "overrides": "\n".join(read.overrides),
        "devices": " ".join(read.devices),
        "rule": read.promotion.rule,
        "metric_compared": read.promotion.metric,
        "margin": _written(read.promotion.margin),
        "missed": read.missed,
    }


def _written(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _show_new(view: View) -> Mapping[str, Any]:
    return {"task": task_of(view), "kinds": KINDS, "units": [*UNITS], "given": {**_FIRST, **_ASKS}}


def _one(view: View) -> ScheduleRead:
    task, name = task_of(view).name, view.path["schedule"]
    for read in schedules.list_schedules(view.session, task, view.now):
        if read.name == name:
            return read
    raise NotFound(f"task '{task}' has no schedule '{name}'")


def _show_one(view: View) -> Mapping[str, Any]:
    read = _one(view)
    return {**_show_new(view), "given": given(read), "schedule": read}


async def _set(sent: Submission, name: str) -> Done:
    task, services, body = sent.path["task"], sent.services, _asked(sent)
    made = await services.change(
        lambda s: schedules.set_schedule(s, task, name, body, services.clock())
    )
    return Done(f"/tasks/{task}", f"Schedule {name} of {task}: {made.when}.")


async def _make(sent: Submission) -> Done:
    """A new one: the name of another is refused, so that none is changed unseen."""
    task, name = sent.path["task"], require_name(sent.text("name"))

    def is_taken(session: Any) -> bool:
        found = schedules.list_schedules(session, task, sent.services.clock())
        return any(one.name == name for one in found)

    if await sent.services.look(is_taken):
        raise Invalid(f"task '{task}' has a schedule '{name}' already: take another name")
    return await _set(sent, name)


async def _edit(sent: Submission) -> Done:
    return await _set(sent, sent.path["schedule"])


async def _pause(sent: Submission) -> Done:
    because = SchedulePause(because=sent.text("because")).because
    return await _do(sent, lambda s, t, n, now: schedules.pause(s, t, n, because, now), "is paused")


async def _fire(sent: Submission) -> Done:
    return await _do(sent, schedules.fire, "fires: its run begins once the task is free")


async def _resume(sent: Submission) -> Done:
    return await _do(sent, schedules.resume, "goes on")


async def _remove(sent: Submission) -> Done:
    return await _do(sent, schedules.remove, "is removed")


async def _do(sent: Submission, change: Callable[[Any, str, str, float], Any], said: str) -> Done:
    task, name, services = sent.path["task"], sent.path["schedule"], sent.services
    await services.change(lambda s: change(s, task, name, services.clock()))
    return Done(f"/tasks/{task}", f"Schedule {name} {said}.")


def _act(verb: str, submit: Callable[[Submission], Any], words: str) -> Form:
    return Form(
        path=f"/tasks/{{task}}/schedules/{{schedule}}/{verb}",
        template="tasks/schedule_act.html",
        section="tasks",
        title=lambda view: f"{verb.capitalize()} schedule {view.path['schedule']}",
        show=lambda view: {**_show_one(view), "verb": verb, "words": words},
        submit=submit,
    )


FORMS = (
    Form(
        path="/tasks/{task}/schedules",
        template="tasks/schedule.html",
        section="tasks",
        title=lambda view: f"Add a schedule to {view.path['task']}",
        show=_show_new,
        submit=_make,
    ),
    Form(
        path="/tasks/{task}/schedules/{schedule}",
        template="tasks/schedule.html",
        section="tasks",
        title=lambda view: f"Change schedule {view.path['schedule']}",
        show=_show_one,
        submit=_edit,
    ),
    _act("fire", _fire, "It fires now, once. Its run begins as soon as the task is free."),
    _act("pause", _pause, "It fires no more by itself. A run that it has begun goes on."),
    _act("resume", _resume, "It fires again. What came meanwhile is not made up for."),
    _act(
        "remove",
        _remove,
        "It is gone for good, with the list of its firings. A run that it has begun goes on; "
        "the version that this run makes is not promoted.",
    ),
)
