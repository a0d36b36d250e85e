"""The tables of an export: their columns, which stay as they are, and their rows, in one fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fedops.core.contracts import (
    MetricRead,
    ModelVersionRead,
    ParticipationRead,
    RoundRead,
    RunRead,
)
from fedops.core.states import ParticipationStatus

Kind = Literal["integer", "number", "text"]
#: What the seconds of a round went into.
TIMES = ("waiting", "transfer", "training", "aggregation", "evaluation")
Row = tuple[Any, ...]


class Column(NamedTuple):
    name: str
    kind: Kind
    about: str


class Layout(NamedTuple):
    about: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]


@dataclass(frozen=True)
class RunFacts:
    """All that a server tells of a run."""

    run: RunRead
    rounds: Sequence[RoundRead]
    metrics: Sequence[MetricRead]
    #: The versions of its task's model that it started from or made.
    versions: Sequence[ModelVersionRead]


_RUN = Column("run", "integer", "The run's number.")
_ROUND = Column("round", "integer", "The round's number, from 1.")
_DEVICE = Column("device", "text", "The device's name.")
_NAME = Column("name", "text", "The metric's name.")
_VALUE = Column("value", "number", "Its value.")

LAYOUTS: dict[str, Layout] = {
    "runs": Layout(
        "One row for each run.",
        (
            _RUN,
            Column("task", "text", "The task's name."),
            Column("study", "integer", "The study that it is a part of."),
            Column("parent", "integer", "The run that it extends or retries."),
            Column("seed", "integer", "Its `random_seed`."),
            Column("status", "text", "`completed`, `failed`, `stopped`, or what it does now."),
            Column("reason", "text", "Why it failed, in one word."),
            Column("rounds", "integer", "How many rounds it was to have."),
            Column("committed_rounds", "integer", "How many count."),
            Column("first_round", "integer", "Its first own round; those before are its parent's."),
            Column("from_version", "integer", "The version of the model that it started from."),
            Column("start_model", "text", "sha256 of the model it started from, if no version."),
            Column("version", "integer", "The version that it made."),
            Column("bundle", "text", "sha256 of the app bundle."),
            Column("created_at", "number", "POSIX seconds by the server's clock, as all times."),
            Column("started_at", "number", "When its first attempt began."),
            Column("ended_at", "number", "When it was over."),
        ),
    ),
    "rounds": Layout(
        "One row for each committed round.",
        (
            _RUN,
            _ROUND,
            Column("attempt", "integer", "The attempt that committed it."),
            Column("started_at", "number", "When it began."),
            Column("committed_at", "number", "From when on it counts."),
            Column("seconds", "number", "How long it took."),
            Column("overhead_seconds", "number", "Of these, without training and transfer."),
            *(Column(f"{name}_seconds", "number", f"Of these: {name}.") for name in TIMES),
            Column("clients", "integer", "How many updates it is made of."),
            Column("model", "text", "sha256 of the model that it made."),
        ),
    ),
    "round_metrics": Layout(
        "The metrics of each round's model. Names that begin with `train_` are of its training.",
        (_RUN, _ROUND, _NAME, _VALUE),
    ),
    "selections": Layout(
        "One row for each device and round: why it was selected, and what became of it.",
        (
            _RUN,
            _ROUND,
            Column("attempt", "integer", "The attempt that selected it."),
            _DEVICE,
            Column("status", "text", "`replied`, or what became of it instead."),
            Column("selection", "text", "Why it was selected."),
            Column("reason", "text", "Why it was dropped or rejected, and what else happened."),
            Column("examples", "integer", "How many examples it trained on."),
            Column("seconds", "number", "How long it took."),
            Column("bytes_up", "integer", "How large its update was on its way."),
        ),
    ),
    "client_metrics": Layout(
        "What each device measured in each round.", (_RUN, _ROUND, _DEVICE, _NAME, _VALUE)
    ),
    "clients": Layout(
        "One row for each run and device: its rounds added up.",
        (
            _RUN,
            _DEVICE,
            Column("selected", "integer", "In how many rounds it was selected."),
            Column("replied", "integer", "In how many its update counted."),
            Column("examples", "integer", "The examples of those rounds."),
            Column("seconds", "number", "Their seconds."),
            Column("bytes_up", "integer", "The bytes of its updates."),
        ),
    ),
    "metrics": Layout(
        "Every number that was measured, in the order in which it came.",
        (
            _RUN,
            Column("id", "integer", "Ascending on one server."),
            _ROUND,
            Column("device", "text", "The device; empty: of the whole federation."),
            Column("source", "text", "Who measured it."),
            _NAME,
            _VALUE,
            Column("at", "number", "When."),
        ),
    ),
    "models": Layout(
        "The versions that the runs started from or made.",
        (
            Column("task", "text", "The task's name."),
            Column("version", "integer", "3 stands for V3."),
            Column("run", "integer", "The run that made it."),
            _ROUND,
            Column("parent", "integer", "The version that this run started from."),
            Column("sha256", "text", "Of the safetensors file."),
            Column("size", "integer", "Its bytes."),
            Column("created_at", "number", "When it was made."),
        ),
    ),
}


def make_tables(facts: Sequence[RunFacts]) -> list[Table]:
    """All tables of these runs, sorted by run, round and name."""
    ordered = sorted(facts, key=lambda one: one.run.id)
    rows = {
        "runs": [_run(one.run) for one in ordered],
        "rounds": [_round(one.run.id, r) for one in ordered for r in _committed(one)],
        "round_metrics": [
            (one.run.id, r.round, name, value)
            for one in ordered
            for r in _committed(one)
            for name, value in sorted(r.metrics.items())
        ],
        "selections": [
            _selection(one.run.id, r, p) for one in ordered for r, p in _participations(one)
        ],
        "client_metrics": [
            (one.run.id, r.round, p.device, name, value)
            for one in ordered
            for r, p in _participations(one)
            for name, value in sorted(p.metrics.items())
        ],
        "clients": [row for one in ordered for row in _clients(one)],
        "metrics": [_metric(m) for one in ordered for m in sorted(one.metrics, key=_id)],
        "models": _models(ordered),
    }
    return [Table(name, layout.columns, rows[name]) for name, layout in LAYOUTS.items()]


def _id(metric: MetricRead) -> int:
    return metric.id


def _run(run: RunRead) -> Row:
    names = [column.name for column in LAYOUTS["runs"].columns]
    plain = {**run.model_dump(mode="json"), "run": run.id}
    return tuple(plain[name] for name in names)


def _committed(one: RunFacts) -> list[RoundRead]:
    return sorted((r for r in one.rounds if r.committed_at is not None), key=lambda r: r.round)


def _participations(one: RunFacts) -> Iterator[tuple[RoundRead, ParticipationRead]]:
    for round_ in sorted(one.rounds, key=lambda r: r.round):
        for part in sorted(round_.participations, key=lambda p: p.device):
            yield round_, part


def _round(run: int, round_: RoundRead) -> Row:
    return (
        run,
        round_.round,
        round_.attempt,
        round_.started_at,
        round_.committed_at,
        round_.seconds,
        round_.overhead_seconds,
        *(round_.timing.get(name) for name in TIMES),
        sum(part.status is ParticipationStatus.REPLIED for part in round_.participations),
        round_.model,
    )


def _selection(run: int, round_: RoundRead, part: ParticipationRead) -> Row:
    return (
        run,
        round_.round,
        round_.attempt,
        part.device,
        part.status.value,
        part.selection,
        part.reason,
        part.examples,
        part.seconds,
        part.bytes_up,
    )


def _clients(one: RunFacts) -> list[Row]:
    parts: dict[str, list[ParticipationRead]] = {}
    for round_, part in _participations(one):
        if round_.committed_at is not None:
            parts.setdefault(part.device, []).append(part)
    return [
        (one.run.id, device, len(found), *_sums(found)) for device, found in sorted(parts.items())
    ]


def _sums(found: Sequence[ParticipationRead]) -> Row:
    good = [part for part in found if part.status is ParticipationStatus.REPLIED]
    return (
        len(good),
        sum(part.examples or 0 for part in good),
        sum(part.seconds or 0.0 for part in good),
        sum(part.bytes_up or 0 for part in good),
    )


def _metric(metric: MetricRead) -> Row:
    return (
        metric.run_id,
        metric.id,
        metric.round,
        metric.device,
        metric.source,
        metric.name,
        metric.value,
        metric.at,
    )


def _models(ordered: Sequence[RunFacts]) -> list[Row]:
    found = {(v.task, v.version): v for one in ordered for v in one.versions}
    return [
        (v.task, v.version, v.run_id, v.round, v.parent, v.sha256, v.size, v.created_at)
        for _, v in sorted(found.items())
    ]
