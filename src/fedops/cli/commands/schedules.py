"""``fedops schedule``: training that begins by itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import typer

from fedops.cli import completion, options
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.schedules import (
    firing_sentence,
    firings_table,
    schedule_fields,
    schedules_table,
)
from fedops.core import contracts as c
from fedops.core.errors import Invalid

app = options.group("Training that begins by itself: by the clock, on code, on data, on drift.")

Task = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="The task's name.",
        callback=options.named,
        autocompletion=completion.tasks,
    ),
]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name.", callback=options.named)
]
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(min|[smhdw])")


@operator_command(app, "set")
def set_(
    operator: Operator,
    task: Task,
    name: Name,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="Such as 30m, 6h, 1h30m, 1d.")
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="EXPR", help="Such as '0 2 * * *': every day at 2."),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option("--zone", metavar="ZONE", help="Of --cron: Europe/Berlin. Default: UTC."),
    ] = None,
    on_commit: Annotated[
        bool, typer.Option("--on-commit", help="When the task has other code.")
    ] = False,
    on_new_data: Annotated[
        str | None,
        typer.Option(
            "--on-new-data",
            metavar="N|any",
            help="When the devices have N examples more, or any other data.",
        ),
    ] = None,
    on_drift: Annotated[
        str | None,
        typer.Option(
            "--on-drift",
            metavar="METRIC=X|psi=X",
            help="When the metric of what serves is worse by X, or the inputs have moved.",
        ),
    ] = None,
    on_demand: Annotated[
        bool, typer.Option("--on-demand", help="Only by 'fedops schedule fire'.")
    ] = False,
    look_every: Annotated[
        str | None,
        typer.Option(
            "--look-every",
            metavar="TIME",
            help="How often devices look at their data. Default: 5m.",
        ),
    ] = None,
    overrides: options.Overrides = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            "--devices", metavar="NAME|PATTERN", help="Only these: day-*. May be repeated."
        ),
    ] = None,
    promote: Annotated[
        str,
        typer.Option(
            "--promote",
            metavar="RULE",
            help="accuracy+0.01 (better by so much), better, always or never.",
        ),
    ] = "better",
    missed: Annotated[
        Literal["once", "skip"],
        typer.Option("--missed", help="Ticks that come while the server is down or a run goes on."),
    ] = "once",
) -> None:
    """Make a schedule of a task, or change one. It has one trigger.

    Its runs start from 'serving', or from the latest version while none serves. When the version that a run
    makes is better than what serves, by the rule of --promote, it becomes 'serving'.
    """
    given: dict[str, Any] = {
        "--every": every and _every(every),
        "--cron": cron and {"kind": "cron", "expression": cron, "zone": zone or "UTC"},
        "--on-commit": on_commit and {"kind": "on_commit"},
        "--on-new-data": on_new_data and _new_data(on_new_data),
        "--on-drift": on_drift and _drift(on_drift),
        "--on-demand": on_demand and {"kind": "on_demand"},
    }
    trigger = _one_trigger(given)
    if zone is not None and cron is None:
        raise Invalid("--zone belongs to --cron")
    if look_every is not None:
        trigger["look_seconds"] = _look_seconds(trigger, look_every)
    body = options.request(
        c.ScheduleSet,
        trigger=trigger,
        overrides=overrides or [],
        devices=devices or [],
        promotion=promotion_rule(promote),
        missed=missed,
    )
    read = operator.client.set_schedule(task, name, body)
    operator.show(read, f"Schedule {name} of task {task}: {read.when}; {read.next}.")


def _one_trigger(given: dict[str, Any]) -> dict[str, Any]:
    chosen = {option: value for option, value in given.items() if value}
    if len(chosen) == 1:
        found: dict[str, Any] = dict(next(iter(chosen.values())))
        return found
    which = f"not {' and '.join(chosen)}" if chosen else "none was given"
    raise Invalid(f"a schedule has one trigger of {', '.join(given)}; {which}")


def _every(text: str) -> dict[str, Any]:
    return {"kind": "every", "seconds": seconds_of(text, "--every")}


def _new_data(text: str) -> dict[str, Any]:
    if text == "any":
        return {"kind": "on_new_data"}
    if not re.fullmatch(r"[1-9]\d{0,15}", text):
        raise Invalid(f"--on-new-data {text}: give a number of examples (500), or 'any'")
    return {"kind": "on_new_data", "examples": int(text)}


def _drift(text: str) -> dict[str, Any]:
    name, found, number = text.rpartition("=")
    if not (name and found and re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", number)):
        raise Invalid(f"--on-drift {text}: write accuracy=0.05 or psi=0.2")
    if name == "psi":
        return {"kind": "on_drift", "psi": float(number)}
    return {"kind": "on_drift", "metric": name, "worse_by": float(number)}


def _look_seconds(trigger: dict[str, Any], text: str) -> float:
    if trigger["kind"] not in ("on_new_data", "on_drift"):
        raise Invalid("--look-every belongs to --on-new-data and --on-drift")
    return seconds_of(text, "--look-every")


def seconds_of(text: str, option: str) -> float:
    """A duration as people type it: ``90s``, ``30m``, ``1h30m``. ``Invalid`` when it is none."""
    if not text or _DURATION.sub("", text):
        raise Invalid(f"{option} {text}: write a time such as 30m, 6h, 1h30m or 1d")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def promotion_rule(text: str) -> dict[str, Any]:
    """``accuracy+0.01``, ``loss-0.02``, ``accuracy``, ``better``, ``always``, ``never``."""
    if text in ("better", "always", "never"):
        return {"rule": text}
    found = re.fullmatch(r"([^\s+=]+?)(?:[+-](\d+(?:\.\d+)?))?", text)
    if found is None:
        raise Invalid(f"--promote {text}: write accuracy+0.01, better, always or never")
    return {"metric": found[1], "margin": float(found[2] or 0.0)}


@operator_command(app, "list")
def list_(operator: Operator, task: Task) -> None:
    """List the schedules of a task, and what each waits for."""
    found = operator.client.schedules(task)
    operator.show(found, schedules_table(found))


@operator_command(app, "show")
def show_(
    operator: Operator,
    task: Task,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", help="How many firings.")] = 10,
) -> None:
    """Show a schedule and its newest firings."""
    firings = operator.client.firings(task, name, limit=limit)
    read = next(one for one in operator.client.schedules(task) if one.name == name)
    value = {"schedule": read, "firings": firings}
    operator.show(value, schedule_fields(read), "", firings_table(firings))


@operator_command(app)
def fire(operator: Operator, task: Task, name: Name) -> None:
    """Let it fire now. Its run begins as soon as the task is free."""
    firing = operator.client.fire_schedule(task, name)
    operator.show(firing, firing_sentence(firing))


@operator_command(app)
def pause(
    operator: Operator,
    task: Task,
    name: Name,
    because: Annotated[
        str, typer.Option("--because", metavar="TEXT", help="Why, for those who ask later.")
    ] = "",
) -> None:
    """Let it fire no more by itself. A run that it has begun goes on."""
    read = operator.client.pause_schedule(task, name, because)
    operator.show(read, f"Schedule {name} of task {task} is {read.paused_why}.")


@operator_command(app)
def resume(operator: Operator, task: Task, name: Name) -> None:
    """Let it fire again. Ticks that came meanwhile are not made up for."""
    read = operator.client.resume_schedule(task, name)
    operator.show(read, f"Schedule {name} of task {task} fires again: {read.next}.")


@operator_command(app)
def remove(operator: Operator, task: Task, name: Name) -> None:
    """Remove it. A run that it has begun goes on; its version is not promoted."""
    read = operator.client.remove_schedule(task, name)
    operator.show(read, f"Schedule {name} of task {task} is removed.")
