"""``fedops demo``: see it work."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedops.cli import options
from fedops.cli.output import console
from fedops.demo.display import Screen
from fedops.demo.options import Plan
from fedops.demo.run import Demo

app = options.single()


@app.command()
def demo(
    devices: Annotated[
        int,
        typer.Option(
            "--devices",
            min=1,
            max=64,
            help="How many devices take part; each takes about 0.4 GB of memory.",
        ),
    ] = 3,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How many rounds to train.")] = 5,
    mnist: Annotated[
        Path | None,
        typer.Option("--mnist", metavar="DIR", help="A folder with MNIST's four IDX files."),
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download/--no-download",
            help="Whether MNIST may be downloaded; if not, scikit-learn's digits stand in for it.",
        ),
    ] = True,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Where everything is kept; default: a new one."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed, the same model.")] = 42,
    xai: Annotated[
        bool, typer.Option("--xai", help="Each device explains its predictions beside the rounds.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up at the end.")] = False,
    app_folder: Annotated[
        Path | None,
        typer.Option("--app", metavar="PATH", help="The app; default: apps/mnist-xai."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Train a model federatedly on this machine: a Server Manager, its FL server and, for
    each device, a Client Manager with its training client, each in its own process.

    The data is MNIST, from --mnist or FEDOPS_MNIST_DIR. If it is not there, it is downloaded. If that is
    not possible, scikit-learn's handwritten digits stand in for it. You can end everything with Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    plan = Plan(devices, rounds, seed, mnist, download, home, app_folder, keep, xai)
    screen = Screen(Console(stderr=True, highlight=False) if as_json else console(markup=True))
    report = Demo(plan, screen).run()
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
