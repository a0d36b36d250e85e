"""Runs and rounds as rich tables: the same words and columns in every command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedops.console.devices import presence
from fedops.console.format import (
    COLOURS,
    TIMES,
    coloured,
    fields,
    moment,
    number,
    or_dash,
    table,
    table_of,
    version_name,
)
from fedops.core import contracts as c
from fedops.core.states import ParticipationStatus, RunStatus

#: So many devices have a line of their own while a run is followed.
_SHOWN_DEVICES = 12
_TAKING_PART = (ParticipationStatus.SELECTED, ParticipationStatus.REPLIED)


#: A sentence that begins with one of these goes on after "is"; with one of those above, without.
_OVER = ("completed", "failed", "stopped")
_IS = ("paused", "pausing", "stopping")


def run_sentence(run: c.RunRead) -> str:
    """``Run 3 failed (app_error) after round 2 of 5: ...``: its state once, and why."""
    word = run.why.split(" ")[0].rstrip(":")
    if word in _OVER and word == run.status:
        return f"Run {run.id} {run.why}"
    if word in _IS and word == run.status:
        return f"Run {run.id} is {run.why}"
    return f"Run {run.id} is {run.status}: {run.why}"


def runs_table(runs: Sequence[c.RunRead]) -> RenderableType:
    if not runs:
        return "No run yet: 'fedops run start TASK' starts one."
    titles = ("RUN", "PARENT", "TASK", "STATUS", "ROUNDS", "ACCURACY", "MODEL", "WHY")
    rows = [
        (
            str(run.id),
            or_dash(run.parent),
            run.task,
            coloured(run.status),
            f"{run.committed_rounds}/{run.rounds}",
            number(run.metrics.get("accuracy")),
            version_name(run.version),
            "" if run.status is RunStatus.COMPLETED else run.why,  # the others say it all
        )
        for run in runs
    ]
    optional = ("PARENT", "ACCURACY", "MODEL", "WHY")
    return table_of(titles, rows, right=("RUN", "PARENT"), optional=optional)


def run_fields(run: c.RunRead) -> RenderableType:
    return fields(
        {
            "run": run.id,
            "task": run.task,
            "status": coloured(run.status),
            "why": run.why,
            "goes on from": _parent(run),
            "study": run.study,
            "schedule": run.begun_by,
            "devices": ", ".join(run.devices) or "all",
            "rounds": f"{run.committed_rounds} of {run.rounds} committed",
            "seed": run.seed,
            "model": f"{_origin(run)} -> {version_name(run.version)}",
            "gate": run.gate,
            **{name: number(value) for name, value in sorted(run.metrics.items())},
            "started": moment(run.started_at),
            "ended": moment(run.ended_at),
            "attempts": ", ".join(_attempt(a) for a in run.attempts),
        }
    )


def _origin(run: c.RunRead) -> str:
    return "new" if run.new_model and run.from_version is None else version_name(run.from_version)


def _parent(run: c.RunRead) -> str:
    return "" if run.parent is None else f"run {run.parent}, from round {run.first_round} on"


def _attempt(attempt: c.AttemptRead) -> str:
    """What a live one does; how one that is over ended."""
    why = attempt.why if attempt.ended_at is None else attempt.reason
    return f"{attempt.number} {attempt.status}" + (f" ({why})" if why else "")


def accuracy_of(round_: c.RoundRead) -> float | None:
    return round_.metrics.get("accuracy")


def loss_of(round_: c.RoundRead) -> float | None:
    return round_.metrics.get("loss")


def time_split(round_: c.RoundRead) -> dict[str, float]:
    """The seconds of a round by what they went into; what the engine does not name is left out."""
    return {name: round_.timing.get(name, 0.0) for name in TIMES}


def rounds_table(rounds: Sequence[c.RoundRead]) -> RenderableType:
    """Fits a terminal of 80 columns; whoever did not take part is named below."""
    titles = ("ROUND", "ACCURACY", "LOSS", "SECONDS", *TIMES.values(), "CLIENTS")
    result = table(*titles, right=titles)
    for round_ in rounds:
        result.add_row(
            str(round_.round),
            number(accuracy_of(round_)),
            number(loss_of(round_)),
            number(round_.seconds, 1),
            *(number(value, 2) for value in time_split(round_).values()),
            f"{len(_good(round_))} of {len(round_.participations)}",
        )
    missing = [f"round {r.round}: {text}" for r in rounds for text in _bad(r)]
    return Group(result, *missing)


def _good(round_: c.RoundRead) -> list[str]:
    return [p.device for p in round_.participations if p.status in _TAKING_PART]


def _bad(round_: c.RoundRead) -> list[str]:
    return [
        f"{p.device} {p.status}" + (f": {p.reason}" if p.reason else "")
        for p in round_.participations
        if p.status not in _TAKING_PART
    ]


def run_view(
    run: c.RunRead, rounds: Sequence[c.RoundRead], devices: Sequence[c.DeviceRead]
) -> RenderableType:
    """A run as it goes: its state, its devices, its rounds."""
    committed = [round_ for round_ in rounds if round_.committed_at is not None]
    return Group(going_view(run, devices), "", rounds_table(committed))


def going_view(run: c.RunRead, devices: Sequence[c.DeviceRead]) -> RenderableType:
    """What a run and its devices are doing now, on a part of the screen."""
    head = Text(run_sentence(run))
    head.highlight_words([str(run.status)], COLOURS.get(run.status, "bold"))
    return Group(head, "", _device_lines(devices))


def _device_lines(devices: Sequence[c.DeviceRead]) -> RenderableType:
    if len(devices) > _SHOWN_DEVICES:
        counts = Counter(presence(device) for device in devices)
        return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    result = Table.grid(padding=(0, 2))
    for device in devices:
        process = device.process
        where = "" if process.round is None else f"round {process.round}"
        result.add_row(device.name, coloured(presence(device)), where, process.reason or "")
    return result


def round_line(round_: c.RoundRead, of: int, late: Sequence[c.RoundRead] = ()) -> str:
    """One round in one line, with what has become known of the models of rounds before it (``late``)."""
    replied = f"{len(_good(round_))} of {len(round_.participations)} replied"
    parts = [_scores(round_), f"{number(round_.seconds, 1)} s", "; ".join([replied, *_bad(round_)])]
    line = f"round {round_.round}/{of}: {', '.join(part for part in parts if part)}"
    return "; ".join([line, *(f"round {r.round} has {_scores(r)}" for r in late)])


def score_line(round_: c.RoundRead, of: int) -> str:
    """How good a round's model turned out to be, where that is known later than the rest."""
    return f"round {round_.round}/{of}: {_scores(round_)} on the clients' data"


def scores_of(round_: c.RoundRead) -> dict[str, float]:
    """The metrics of the round's model, accuracy and loss first, without those of its training."""
    names = (name for name in round_.metrics if not name.startswith("train_"))
    first = ("accuracy", "loss")
    return {n: round_.metrics[n] for n in sorted(names, key=lambda n: (n not in first, n))}


def _scores(round_: c.RoundRead) -> str:
    return ", ".join(f"{name} {number(x)}" for name, x in list(scores_of(round_).items())[:4])
