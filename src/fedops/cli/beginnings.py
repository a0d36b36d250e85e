"""What the options of ``fedops run start`` ask for: a run, or a study of runs with different seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from fedops.api_client import OperatorClient
from fedops.cli import options
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.seeds import study_seeds

NEW = "new"

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="VERSION",
        help="Start from V0, V3, ..., or 'new': an initial model of the run's own seed. "
        "Default: latest; with --seeds: new.",
        callback=options.version_text,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="N|S,S,...", help="One run for each of N seeds, or of these."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Start nothing: show devices, examples, bytes, time.")
]


@dataclass(frozen=True)
class Beginning:
    """One run (``seeds`` None), or one for each of so many or these seeds."""

    task: str
    overrides: Sequence[str]
    #: The version to start from; None: see ``new_model``.
    version: int | None
    new_model: bool
    seeds: int | list[int] | None
    #: Names or patterns of devices. []: all.
    devices: Sequence[str] = ()

    @property
    def run(self) -> c.RunStart:
        return options.request(
            c.RunStart,
            overrides=self.overrides,
            from_version=self.version,
            new_model=self.new_model,
            devices=list(self.devices),
        )

    @property
    def study(self) -> c.StudyStart:
        return options.request(
            c.StudyStart, seeds=self.seeds, overrides=self.overrides, from_version=self.version
        )

    def forecast(self, client: OperatorClient) -> tuple[c.RunForecast, list[int]]:
        """What each run would be, and the seeds."""
        found = client.forecast_run(self.task, self.run)
        if self.seeds is None:
            return found, [found.seed]
        drawn = study_seeds(found.seed, self.seeds) if isinstance(self.seeds, int) else self.seeds
        return found, drawn


def read_beginning(
    client: Callable[[], OperatorClient],
    task: str,
    from_: str | None,
    seeds: str | None,
    overrides: list[str],
    devices: Sequence[str] = (),
) -> Beginning:
    """Understand the options. ``Invalid`` or ``NotFound`` for what cannot be.

    ``client``: asked for once what was typed makes sense.
    """
    drawn = None if seeds is None else _seeds(seeds)
    given = any(override.partition("=")[0].strip() == "random_seed" for override in overrides)
    if given and isinstance(drawn, list):
        raise Invalid("--seeds names the seeds already: leave --set random_seed out")
    named = from_ not in (None, NEW)
    version = version_number(client(), task, str(from_)) if named else None
    new_model = from_ == NEW or (drawn is not None and version is None)
    if drawn is not None and devices:
        raise Invalid("--devices and --seeds: a study is for all devices of its task")
    return Beginning(task, overrides, version, new_model, drawn, devices)


def _seeds(text: str) -> int | list[int]:
    """``5``: so many; ``1,2,3`` or ``7,``: these."""
    if not re.fullmatch(r"\d+(,\d+)*,?", text):
        raise Invalid(f"--seeds {text}: give a number of runs (5), or the seeds (1,2,3)")
    if "," not in text:
        return _count(int(text))
    found = [int(part) for part in text.strip(",").split(",")]
    if len(set(found)) < len(found):
        raise Invalid(f"--seeds {text}: each seed once, or its runs are copies of each other")
    return found


def _count(number: int) -> int:
    if not 1 <= number <= c.MAX_SEEDS:
        raise Invalid(
            f"--seeds {number}: a study has 1 to {c.MAX_SEEDS} runs; a comma makes it a seed: "
            f"--seeds {number},"
        )
    return number


def totals(forecast: c.RunForecast, runs: int) -> dict[str, Any]:
    """What follows from a forecast, for so many runs."""
    size, seconds = forecast.total_bytes, forecast.total_seconds
    return {
        "bytes_a_device": forecast.bytes_a_device,
        "total_bytes": None if size is None else size * runs,
        "total_seconds": None if seconds is None else seconds * runs,
    }


def version_number(client: OperatorClient, task: str, version: str) -> int:
    """The number that ``V3``, ``3`` or an alias stands for."""
    match = re.fullmatch(r"[vV]?(\d{1,9})", version)
    if match:
        return int(match[1])
    options.version_text(version)
    return client.model(task, version).version
