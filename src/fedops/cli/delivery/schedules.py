"""``fedops schedule``: training that begins by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.delivery.schedule_options import (
    Cron,
    Every,
    LookEvery,
    Missed,
    OnCommit,
    OnDemand,
    OnDrift,
    OnNewData,
    Promote,
    TypedTrigger,
    Zone,
    promotion_rule,
)
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.schedules import (
    firing_sentence,
    firings_table,
    schedule_fields,
    schedules_table,
)
from fedops.core import contracts as c

app = options.group("Training that begins by itself: by the clock, on code, on data, on drift.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name.", callback=options.named)
]


@operator_command(app, "set")
def set_(
    operator: Operator,
    task: options.Task,
    name: Name,
    every: Every = None,
    cron: Cron = None,
    zone: Zone = None,
    on_commit: OnCommit = False,
    on_new_data: OnNewData = None,
    on_drift: OnDrift = None,
    on_demand: OnDemand = False,
    look_every: LookEvery = None,
    overrides: options.Overrides = None,
    devices: options.OnlyDevices = None,
    promote: Promote = "better",
    missed: Missed = "once",
) -> None:
    """Make a schedule of a task, or change one. It has one trigger.

    Its runs start from 'serving', or from the latest version while none serves. When the version that a run
    makes is better than what serves, by the rule of --promote, it becomes 'serving'.
    """
    typed = TypedTrigger(every, cron, zone, on_commit, on_new_data, on_drift, on_demand, look_every)
    body = options.request(
        c.ScheduleSet,
        trigger=typed.request(),
        overrides=overrides or [],
        devices=devices or [],
        promotion=promotion_rule(promote),
        missed=missed,
    )
    read = operator.client.set_schedule(task, name, body)
    operator.show(read, f"Schedule {name} of task {task}: {read.when}; {read.next}.")


@operator_command(app, "list")
def list_(operator: Operator, task: options.Task) -> None:
    """List the schedules of a task, and what each waits for."""
    found = operator.client.schedules(task)
    operator.show(found, schedules_table(found))


@operator_command(app, "show")
def show_(
    operator: Operator,
    task: options.Task,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", help="How many firings.")] = 10,
) -> None:
    """Show a schedule and its newest firings."""
    firings = operator.client.firings(task, name, limit=limit)
    read = next(one for one in operator.client.schedules(task) if one.name == name)
    value = {"schedule": read, "firings": firings}
    operator.show(value, schedule_fields(read), "", firings_table(firings))


@operator_command(app)
def fire(operator: Operator, task: options.Task, name: Name) -> None:
    """Let it fire now. Its run begins as soon as the task is free."""
    firing = operator.client.fire_schedule(task, name)
    operator.show(firing, firing_sentence(firing))


@operator_command(app)
def pause(
    operator: Operator,
    task: options.Task,
    name: Name,
    because: Annotated[
        str, typer.Option("--because", metavar="TEXT", help="Why, for those who ask later.")
    ] = "",
) -> None:
    """Let it fire no more by itself. A run that it has begun goes on."""
    read = operator.client.pause_schedule(task, name, because)
    operator.show(read, f"Schedule {name} of task {task} is {read.paused_why}.")


@operator_command(app)
def resume(operator: Operator, task: options.Task, name: Name) -> None:
    """Let it fire again. Ticks that came meanwhile are not made up for."""
    read = operator.client.resume_schedule(task, name)
    operator.show(read, f"Schedule {name} of task {task} fires again: {read.next}.")


@operator_command(app)
def remove(operator: Operator, task: options.Task, name: Name) -> None:
    """Remove it. A run that it has begun goes on; its version is not promoted."""
    read = operator.client.remove_schedule(task, name)
    operator.show(read, f"Schedule {name} of task {task} is removed.")
