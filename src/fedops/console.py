"""Runs, rounds, devices and models as rich tables: the same words and columns in every command."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedops.core import contracts as c
from fedops.core.states import Enrolment, ParticipationStatus, ProcessStatus, RunStatus

COLOURS: Mapping[str, str] = {
    RunStatus.RUNNING: "cyan",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.STOPPED: "yellow",
    RunStatus.PAUSED: "yellow",
    ProcessStatus.TRAINING: "cyan",
    ProcessStatus.EVALUATING: "cyan",
    ProcessStatus.IDLE: "green",
    ProcessStatus.BACKOFF: "yellow",
    ProcessStatus.FATAL: "red",
    Enrolment.APPROVED: "green",
    Enrolment.PENDING: "yellow",
    "offline": "red",
    "online": "green",
}
#: What the seconds of a round went into, as the engine names it, and the column's title.
TIMES = {
    "waiting": "WAIT",
    "transfer": "TRANSFER",
    "training": "TRAIN",
    "aggregation": "AGGREGATE",
    "evaluation": "EVALUATE",
}


_TAKING_PART = (ParticipationStatus.SELECTED, ParticipationStatus.REPLIED)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A plain table; ``right`` names the columns of numbers."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left")
    return result


def fields(rows: Mapping[str, Any]) -> Table:
    """Name and value, one a line."""
    result = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        shown = (
            value if isinstance(value, Text) else Text("-" if value in (None, "") else str(value))
        )
        result.add_row(Text(name, style="bold"), shown)
    return result


def coloured(word: str) -> Text:
    """A state in its colour."""
    return Text(str(word), style=COLOURS.get(word, ""))


def moment(at: float | None) -> str:
    """A time of the server's clock in this machine's zone."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def version_name(version: int | None) -> str:
    return "-" if version is None else f"V{version}"


def bytes_of(size: float) -> str:
    """``1.8 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


# --- tasks, devices, tokens, models ----------------------------------------------------------


def tasks_table(tasks: Sequence[c.TaskRead]) -> RenderableType:
    if not tasks:
        return "No task yet: 'fedops task create NAME --app PATH' makes one."
    result = table("TASK", "STATUS", "RUN", "MODEL", "DEVICES", "DESCRIPTION")
    for task in tasks:
        run = "-" if task.active_run is None else f"{task.active_run} active"
        result.add_row(
            task.name,
            coloured(task.status),
            run,
            version_name(task.latest_version),
            ", ".join(task.devices) or "-",
            task.description,
        )
    return result


def task_fields(task: c.TaskRead) -> RenderableType:
    return fields(
        {
            "task": task.name,
            "status": coloured(task.status),
            "description": task.description,
            "devices": ", ".join(task.devices),
            "active run": task.active_run,
            "latest model": version_name(task.latest_version),
            "app bundle": task.bundle[:16],
            "created": moment(task.created_at),
            "updated": moment(task.updated_at),
        }
    )


def presence(device: c.DeviceRead) -> str:
    """What matters most about a device, in one word."""
    if device.enrolment is not Enrolment.APPROVED:
        return device.enrolment
    return device.process.status if device.online else "offline"


def devices_table(devices: Sequence[c.DeviceRead]) -> RenderableType:
    if not devices:
        return "No device yet: 'fedops token create' makes a token with which one can join."
    result = table("DEVICE", "STATE", "TASKS", "RUN", "ROUND", "LAST SEEN", "WHY")
    for device in devices:
        result.add_row(
            device.name,
            coloured(presence(device)),
            ", ".join(device.tasks) or "-",
            _or_dash(device.process.run_id),
            _or_dash(device.process.round),
            last_seen(device),
            device.why,
        )
    return result


def last_seen(device: c.DeviceRead) -> str:
    seconds = device.last_seen_seconds
    return "never" if seconds is None else f"{seconds:.0f} s ago"


def device_fields(device: c.DeviceRead) -> RenderableType:
    return fields(
        {
            "device": device.name,
            "state": coloured(presence(device)),
            "why": device.why,
            "enrolment": device.enrolment,
            "last seen": last_seen(device),
            "tasks": ", ".join(device.tasks),
            "process": _process(device.process),
            "host": f"{device.info.hostname}, {device.info.platform}",
            "software": f"fedops {device.info.fedops}, Python {device.info.python}",
            "hardware": f"{device.info.cpus} CPUs, {bytes_of(device.info.memory_bytes)} memory"
            + (f", {device.info.gpu}" if device.info.gpu else ""),
            "joined": moment(device.created_at),
            "id": device.id,
        }
    )


def _process(process: c.ProcessReport) -> str:
    parts = [str(process.status)]
    if process.pid:
        parts.append(f"process {process.pid}")
    if process.run_id is not None:
        parts.append(f"run {process.run_id}")
    if process.round is not None:
        parts.append(f"round {process.round}")
    if process.restarts:
        parts.append(f"restarted {process.restarts} times")
    return ", ".join([*parts, *([process.reason] if process.reason else [])])


def tokens_table(tokens: Sequence[c.TokenRead]) -> RenderableType:
    if not tokens:
        return "No token yet: 'fedops token create' makes one."
    result = table("ID", "KIND", "USES LEFT", "EXPIRES", "STATE", "NOTE", right=("ID", "USES LEFT"))
    for token in tokens:
        result.add_row(
            str(token.id),
            token.kind,
            _or_dash(token.uses_left),
            moment(token.expires_at),
            _token_state(token),
            token.note,
        )
    return result


def _token_state(token: c.TokenRead) -> str:
    if token.revoked:
        return "revoked"
    if token.uses_left == 0:
        return "used up"
    over = token.expires_at is not None and token.expires_at <= time.time()
    return "expired" if over else "valid"


def models_table(models: Sequence[c.ModelVersionRead]) -> RenderableType:
    if not models:
        return "No global model version yet: a completed run makes the first."
    result = table(
        "VERSION", "RUN", "ROUND", "FROM", "ACCURACY", "LOSS", "SIZE", "SHA256", "ALIASES"
    )
    for model in models:
        result.add_row(
            version_name(model.version),
            _or_dash(model.run_id),
            str(model.round),
            version_name(model.parent),
            number(model.metrics.get("accuracy")),
            number(model.metrics.get("loss")),
            bytes_of(model.size),
            model.sha256[:16],
            ", ".join(model.aliases),
        )
    return result


def model_fields(model: c.ModelVersionRead) -> RenderableType:
    return fields(
        {
            "task": model.task,
            "version": version_name(model.version),
            "aliases": ", ".join(model.aliases),
            "made by": f"run {_or_dash(model.run_id)}, round {model.round}",
            "from": version_name(model.parent),
            **{name: number(value) for name, value in sorted(model.metrics.items())},
            "size": bytes_of(model.size),
            "sha256": model.sha256,
            "created": moment(model.created_at),
        }
    )


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)


# --- runs and rounds -------------------------------------------------------------------------


def runs_table(runs: Sequence[c.RunRead]) -> RenderableType:
    if not runs:
        return "No run yet: 'fedops run start TASK' starts one."
    titles = ("RUN", "PARENT", "TASK", "STATUS", "ROUNDS", "ACCURACY", "MODEL", "WHY")
    result = table(*titles, right=("RUN", "PARENT"))
    for run in runs:
        result.add_row(
            str(run.id),
            _or_dash(run.parent),
            run.task,
            coloured(run.status),
            f"{run.committed_rounds}/{run.rounds}",
            number(run.metrics.get("accuracy")),
            version_name(run.version),
            run.why,
        )
    return result


def run_fields(run: c.RunRead) -> RenderableType:
    return fields(
        {
            "run": run.id,
            "task": run.task,
            "status": coloured(run.status),
            "why": run.why,
            "goes on from": _parent(run),
            "rounds": f"{run.committed_rounds} of {run.rounds} committed",
            "seed": run.seed,
            "model": f"{version_name(run.from_version)} -> {version_name(run.version)}",
            **{name: number(value) for name, value in sorted(run.metrics.items())},
            "started": moment(run.started_at),
            "ended": moment(run.ended_at),
            "attempts": ", ".join(_attempt(a) for a in run.attempts),
        }
    )


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
    result.padding = (0, 1, 0, 0)
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


def explanations_table(found: Sequence[c.ExplanationRead]) -> RenderableType:
    """The scores that say most: drift (0: no change) and faithfulness (above 0: better than chance)."""
    titles = ("ROUND", "DEVICE", "DRIFT SINCE", "FROM GLOBAL", "DELETION", "INSERTION", "SANITY")
    result = table(*titles, right=titles[2:])
    for one in found:
        scores = one.scores
        values = (
            _score(scores, "local_over_rounds", "worst"),
            _score(scores, "local_to_global", "worst"),
            _gain(scores, "deletion_random", "deletion"),
            _gain(scores, "insertion", "insertion_random"),
            _score(scores, "local", "sanity"),
        )
        result.add_row(str(one.round), one.device, *(number(value, 2) for value in values))
    said = [f"round {x.round}, {x.device}: {t}" for x in found for t in (*x.alarms, *x.failures)]
    return Group(result, *said) if found else "No device let anything of its explanations go."


def _score(scores: Mapping[str, float], series: str, name: str) -> float | None:
    """The score of the first method that has it."""
    parts = ((key.split("/"), value) for key, value in sorted(scores.items()))
    return next((v for p, v in parts if (p[0], p[-1]) == (series, name) and len(p) == 3), None)


def _gain(scores: Mapping[str, float], better: str, worse: str) -> float | None:
    high, low = _score(scores, "local", better), _score(scores, "local", worse)
    return None if high is None or low is None else high - low


def participants(round_: c.RoundRead) -> str:
    """``pi-1, pi-2; pi-3 dropped: went offline``."""
    return "; ".join([", ".join(_good(round_)), *_bad(round_)])


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
    head = Text.assemble(
        (f"Run {run.id} of {run.task} is ", "bold"),
        coloured(run.status),
        f". {run.why}",
    )
    committed = [round_ for round_ in rounds if round_.committed_at is not None]
    return Group(head, "", _device_lines(devices), "", rounds_table(committed))


def _device_lines(devices: Sequence[c.DeviceRead]) -> RenderableType:
    result = Table.grid(padding=(0, 2))
    for device in devices:
        process = device.process
        where = "" if process.round is None else f"round {process.round}"
        result.add_row(device.name, coloured(presence(device)), where, process.reason or "")
    return result


def round_line(round_: c.RoundRead, of: int) -> str:
    """One round in one line, for output that is no terminal."""
    split = ", ".join(f"{name} {value:.2f}" for name, value in time_split(round_).items())
    return (
        f"round {round_.round}/{of}: {_scores(round_)}, {number(round_.seconds, 1)} s ({split}); "
        f"{participants(round_)}"
    )


def score_line(round_: c.RoundRead, of: int) -> str:
    """How good a round's model turned out to be, where that is known later than the rest."""
    return f"round {round_.round}/{of}: {_scores(round_)} on the clients' data"


def scores_of(round_: c.RoundRead) -> dict[str, float]:
    """The metrics of the round's model, accuracy and loss first, without those of its training."""
    names = (name for name in round_.metrics if not name.startswith("train_"))
    first = ("accuracy", "loss")
    return {n: round_.metrics[n] for n in sorted(names, key=lambda n: (n not in first, n))}


def _scores(round_: c.RoundRead) -> str:
    unknown: dict[str, float | None] = {"accuracy": None, "loss": None}
    scores = scores_of(round_) or unknown
    return ", ".join(f"{name} {number(value)}" for name, value in list(scores.items())[:4])
