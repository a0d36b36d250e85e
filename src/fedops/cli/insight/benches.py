"""``fedops device bench``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live

from fedops.api_client import OperatorClient
from fedops.cli import completion, options
from fedops.cli.follow import INTERVAL, outlasting
from fedops.cli.operator_command import Operator, operator_command
from fedops.cli.output import console
from fedops.console.benches import bench_line, benches_table, has_worked, is_going
from fedops.core import contracts as c
from fedops.core.contracts.devices import DEFAULT_FRACTION

Task = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="The task whose devices are timed.",
        callback=options.named,
        autocompletion=completion.tasks,
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Only this device; may be repeated. By default all of the task that are ready.",
        autocompletion=completion.devices,
    ),
]
Fraction = Annotated[
    float, typer.Option("--fraction", help="The share of its examples that a device trains on.")
]
Show = Annotated[
    bool, typer.Option("--show", help="Only show the last benchmarks; nothing is timed.")
]


def add_to_devices(app: typer.Typer) -> None:
    """The command that times devices."""
    operator_command(app, "bench")(bench)


def bench(
    operator: Operator,
    task: Task,
    devices: Devices = None,
    fraction: Fraction = DEFAULT_FRACTION,
    show: Show = False,
) -> None:
    """Time how long a round of a task would take its devices, each on a small chunk of its own data.

    Selectors that go by seconds use the estimate for devices that have no measured round. A ROUND is the
    training of a round plus TRANSFER, twice the download of the newest model version.
    """
    client = operator.client
    if show:
        found = client.benches(task)
        nothing = "" if found.benches else "No device was timed yet: leave out --show to do it."
        operator.show(found, nothing or benches_table(found))
        return
    body = options.request(c.BenchRequest, devices=devices or [], fraction=fraction)
    begun = client.start_benches(task, body)
    found = _ended(client, begun, quiet=operator.as_json) if begun.benches else begun
    operator.show(found, _table_or_why(found))
    if not any(map(has_worked, found.benches)):
        raise typer.Exit(1)


def _table_or_why(found: c.BenchesRead) -> RenderableType:
    if found.benches or found.left_out:
        return benches_table(found)
    return f"Task '{found.task}' has no approved device."


def _ended(client: OperatorClient, begun: c.BenchesRead, quiet: bool) -> c.BenchesRead:
    """The benchmarks once they have ended, with what there is to say of them meanwhile."""
    try:
        if quiet:
            return _wait(client, begun, lambda _: None)
        return _live(client, begun) if sys.stdout.isatty() else _lines(client, begun)
    except KeyboardInterrupt:
        again = f"'fedops device bench {begun.task} --show' shows how they are"
        sys.stderr.write(f"fedops: the benchmarks go on; {again}\n")
        raise


def _live(client: OperatorClient, begun: c.BenchesRead) -> c.BenchesRead:
    with Live(console=console(), auto_refresh=False, transient=True) as live:
        return _wait(client, begun, lambda found: live.update(benches_table(found), refresh=True))


def _lines(client: OperatorClient, begun: c.BenchesRead) -> c.BenchesRead:
    out, said = console(), set[str]()

    def show(found: c.BenchesRead) -> None:
        for one in found.benches:
            if not is_going(one) and one.device not in said:
                said.add(one.device)
                out.print(bench_line(one), soft_wrap=True)

    return _wait(client, begun, show)


def _wait(
    client: OperatorClient, begun: c.BenchesRead, show: Callable[[c.BenchesRead], None]
) -> c.BenchesRead:
    names = {one.device for one in begun.benches}
    while True:
        found = outlasting(lambda: client.benches(begun.task))
        ours = _of(found.benches, names)
        found = found.model_copy(update={"benches": ours, "left_out": begun.left_out})
        show(found)
        if not any(map(is_going, ours)):
            return found
        time.sleep(INTERVAL)


def _of(benches: Sequence[c.BenchRead], names: set[str]) -> list[c.BenchRead]:
    return [one for one in benches if one.device in names]
