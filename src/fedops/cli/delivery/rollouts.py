"""``fedops task status``, ``rollout``, and what a person decides about a rollout."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live

from fedops.api_client import OperatorClient
from fedops.cli import completion, options
from fedops.cli.follow import INTERVAL, outlasting
from fedops.cli.operator_command import Operator, operator_command
from fedops.cli.output import console
from fedops.console.deliveries import delivery_view, is_settled, is_well, rollout_line
from fedops.core import contracts as c
from fedops.core.errors import Invalid, NotFound
from fedops.core.reasons.commits import short_commit

Commit = Annotated[
    str | None,
    typer.Option(
        "--commit",
        metavar="COMMIT",
        help="Which one, or how its name begins. By default the newest that was found sound.",
        autocompletion=completion.commits,
    ),
]


def add_to_tasks(app: typer.Typer) -> None:
    """The commands about how a task's commits reach its devices."""
    operator_command(app, "status")(status)
    operator_command(app, "rollout")(rollout)
    operator_command(app, "approve")(approve)
    operator_command(app, "pause")(pause)
    operator_command(app, "resume")(resume)
    operator_command(app, "stop-rollout")(stop_rollout)
    operator_command(app, "roll-back")(roll_back)
    operator_command(app, "unpin")(unpin)


def status(operator: Operator, name: options.TaskName, follow_it: options.Follow = False) -> None:
    """Show what each device of a task is to run, what it runs, and why it does not yet.

    With --follow it ends when the rollout has come to its end or waits for a person, with exit code 1 unless
    the end is good.
    """
    if follow_it:
        _follow(operator, name)
        return
    found = operator.client.delivery(name)
    operator.show(found, *delivery_view(found))


def rollout(
    operator: Operator,
    name: options.TaskName,
    commit: Commit = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="From now on nothing newer is rolled out by itself.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Try it again where it was stopped or failed before.")
    ] = False,
    follow_it: options.Follow = False,
) -> None:
    """Roll a commit out to the devices of a task, in waves."""
    whole = None if commit is None else _whole(operator.client, name, commit)
    body = options.request(c.RolloutStart, commit=whole, pin=pin, again=again)
    begun = operator.client.start_rollout(name, body)
    if follow_it:
        _follow(operator, name)
        return
    operator.show(
        begun,
        f"Commit {short_commit(begun.commit)} is {begun.status}: {begun.why}.\n"
        f"  fedops task status {name}\nshows how far it is.",
    )


def approve(operator: Operator, name: options.TaskName, because: options.Because = "") -> None:
    """Let the next wave of a paused rollout begin."""
    _decide(operator, name, "approve", because)


def pause(operator: Operator, name: options.TaskName, because: options.Because = "") -> None:
    """Let a rollout ask no more devices for now. Those that were asked go on."""
    _decide(operator, name, "pause", because)


def resume(operator: Operator, name: options.TaskName, because: options.Because = "") -> None:
    """Let a paused rollout go on; its wave is judged anew."""
    _decide(operator, name, "resume", because)


def stop_rollout(
    operator: Operator,
    name: options.TaskName,
    because: options.Because = "",
    yes: options.Yes = False,
) -> None:
    """Stop a rollout: every device that was asked goes back to the commit before."""
    options.require_agreed(f"Stop the rollout of task '{name}' and go back on every device?", yes)
    _decide(operator, name, "stop", because)


def roll_back(
    operator: Operator,
    name: options.TaskName,
    because: options.Because = "",
    yes: options.Yes = False,
) -> None:
    """Take the task's commit back: devices and the next run use the one before."""
    options.require_agreed(f"Roll task '{name}' back to the commit before, everywhere?", yes)
    _decide(operator, name, "roll_back", because)


def unpin(operator: Operator, name: options.TaskName) -> None:
    """Let newer commits be rolled out by themselves again."""
    _decide(operator, name, "unpin", "")


def _decide(operator: Operator, name: str, decision: str, because: str) -> None:
    body = options.request(c.RolloutDecision, decision=decision, because=because)
    found = operator.client.decide_rollout(name, body)
    operator.show(found, *delivery_view(found))


def _whole(client: OperatorClient, name: str, begins: str) -> str:
    """The only commit of the task whose name begins so.

    Raises:
        NotFound: there is none among the newest.
        Invalid: there are several.
    """
    known = client.delivery(name).commits
    found = [one.commit for one in known if one.commit.startswith(begins.lower())]
    if not found and len(begins) < 40:
        there = ", ".join(short_commit(one.commit) for one in known[:10]) or "none yet"
        raise NotFound(
            f"task '{name}' has no commit that begins with '{begins}'; the newest: {there}"
        )
    if len(found) > 1:
        several = ", ".join(one[:12] for one in found)
        raise Invalid(f"several commits begin with '{begins}': {several}; write more of its name")
    return found[0] if found else begins


# --- following -------------------------------------------------------------------------------


def _follow(operator: Operator, name: str) -> None:
    """Until nothing more happens by itself."""
    client = operator.client
    if operator.as_json:
        found = _wait(client, name)
    else:
        found = _live(client, name) if sys.stdout.isatty() else _lines(client, name)
    operator.show(found, *delivery_view(found))
    if not is_well(found):
        raise typer.Exit(1)


def _wait(client: OperatorClient, name: str) -> c.DeliveryRead:
    while not is_settled(found := outlasting(lambda: client.delivery(name))):
        time.sleep(INTERVAL)
    return found


def _live(client: OperatorClient, name: str) -> c.DeliveryRead:
    with Live(console=console(), auto_refresh=False, transient=True) as live:
        while not is_settled(found := outlasting(lambda: client.delivery(name))):
            live.update(Group(*delivery_view(found)), refresh=True)
            time.sleep(INTERVAL)
    return found


def _lines(client: OperatorClient, name: str) -> c.DeliveryRead:
    out, said = console(), ""
    while not is_settled(found := outlasting(lambda: client.delivery(name))):
        if found.rollout is not None and (line := rollout_line(found.rollout)) != said:
            out.print(line, soft_wrap=True)
            said = line
        time.sleep(INTERVAL)
    return found
