"""Several runs as one row of a table: mean and spread of each metric, over the runs that are completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from fedops.core.contracts import Reply, RoundRead, RunRead
from fedops.core.errors import Invalid
from fedops.core.reasons.durations import pluralised
from fedops.core.states import RunStatus

#: A metric whose name has one of these words is the better the smaller it is.
_SMALLER_IS_BETTER = frozenset(
    {"brier", "ece", "err", "error", "loss", "mae", "mape", "mse", "nll", "perplexity", "rmse"}
)
#: What differs between runs that are to be compared anyway.
_SEED = "random_seed"


class Spread(Reply):
    """One number over runs. ``std`` is the sample's (divided by n - 1); None for a single run."""

    count: int
    mean: float
    std: float | None
    min: float
    max: float


class MetricSummary(Reply):
    metric: str
    #: Whether the best round is the one with the highest value.
    higher_is_better: bool
    #: Of the last round's model, and of the best round's.
    final: Spread
    best: Spread


class RunScores(Reply):
    """What one run came to."""

    run: int
    seed: int
    status: RunStatus
    committed_rounds: int
    rounds: int
    #: By metric: of the last committed round, of the best, and which that is.
    final: dict[str, float]
    best: dict[str, float]
    best_round: dict[str, int]


class RunsSummary(Reply):
    task: str
    runs: list[RunScores]
    #: The runs that the means are over: those that are completed.
    counted: list[int]
    metrics: list[MetricSummary]
    #: How many there are to be, and the seeds that have no run yet, or never will.
    planned: int
    not_begun: list[int]
    #: What a reader of the numbers should know: one sentence each.
    notes: list[str]


def summarise_runs(
    runs: Sequence[tuple[RunRead, Sequence[RoundRead]]], not_begun: Sequence[int] = ()
) -> RunsSummary:
    """``runs``: each with all of its rounds, also those of the runs that it goes on from.

    Raises:
        Invalid: they are of more than one task.
    """
    continued = {run.parent for run, _ in runs}
    kept = sorted(
        ((run, rounds) for run, rounds in runs if run.id not in continued),
        key=lambda one: one[0].id,
    )
    tasks = sorted({run.task for run, _ in kept})
    if len(tasks) != 1:
        raise Invalid(
            f"a summary is over runs of one task, and these are of {len(tasks)}: {', '.join(tasks)}"
        )
    scores = [_scores(run, rounds) for run, rounds in kept]
    counted = [one for one in scores if one.status is RunStatus.COMPLETED]
    return RunsSummary(
        task=tasks[0],
        runs=scores,
        counted=[one.run for one in counted],
        metrics=_metrics(counted),
        planned=len(scores) + len(not_begun),
        not_begun=list(not_begun),
        notes=_notes([run for run, _ in kept], scores, not_begun),
    )


def _scores(run: RunRead, rounds: Sequence[RoundRead]) -> RunScores:
    done = sorted((r for r in rounds if r.committed_at is not None), key=lambda r: r.round)
    final = _measured(done[-1]) if done else {}
    best: dict[str, float] = {}
    best_round: dict[str, int] = {}
    for round_ in done:
        for name, value in _measured(round_).items():
            if name not in best or _is_better(name, value, best[name]):
                best[name], best_round[name] = value, round_.round
    return RunScores(
        run=run.id,
        seed=run.seed,
        status=run.status,
        committed_rounds=run.committed_rounds,
        rounds=run.rounds,
        final=final,
        best=best,
        best_round=best_round,
    )


def _measured(round_: RoundRead) -> dict[str, float]:
    """The metrics of the model that the round made, without those of its training."""
    return {
        name: value
        for name, value in round_.metrics.items()
        if not name.startswith("train_") and isfinite(value)
    }


def higher_is_better(metric: str) -> bool:
    """By its name: ``accuracy`` yes, ``val_loss`` no."""
    words = metric.lower().replace("-", "_").replace(".", "_").replace("/", "_").split("_")
    return not _SMALLER_IS_BETTER.intersection(words)


def _is_better(metric: str, new: float, old: float) -> bool:
    return new > old if higher_is_better(metric) else new < old


def _metrics(counted: Sequence[RunScores]) -> list[MetricSummary]:
    """Accuracy and loss first, then by name."""
    names = {name for one in counted for name in one.final}
    first = ("accuracy", "loss")
    return [
        MetricSummary(
            metric=name,
            higher_is_better=higher_is_better(name),
            final=_spread([one.final[name] for one in counted if name in one.final]),
            best=_spread([one.best[name] for one in counted if name in one.best]),
        )
        for name in sorted(names, key=lambda n: (first.index(n) if n in first else 2, n))
    ]


def _spread(values: Sequence[float]) -> Spread:
    return Spread(
        count=len(values),
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 else None,
        min=min(values),
        max=max(values),
    )


def _notes(
    runs: Sequence[RunRead], scores: Sequence[RunScores], not_begun: Sequence[int]
) -> list[str]:
    left = [one for one in scores if one.status is not RunStatus.COMPLETED]
    notes = [
        f"run {one.run} (seed {one.seed}) is {one.status} after round {one.committed_rounds} of "
        f"{one.rounds} and does not count"
        for one in left
    ]
    if not_begun:
        seeds = ", ".join(map(str, not_begun))
        notes.append(f"{pluralised(len(not_begun), 'seed')} without a run: {seeds}")
    if odd := different_keys([run.config for run in runs]):
        notes.append(f"these runs differ in more than their seed: {', '.join(odd)}")
    if len({run.bundle for run in runs}) > 1:
        notes.append("these runs are of different versions of the app")
    origins = {(run.from_version, run.new_model) for run in runs if not run.new_model}
    if len(origins) > 1 or (origins and _any_new(runs) and origins != {(0, False)}):
        notes.append("these runs did not start from the same model")
    seeds_used = [run.seed for run in runs]
    if len(set(seeds_used)) < len(seeds_used):
        notes.append("some of these runs have the same seed: they are no independent repetitions")
    return notes


def _any_new(runs: Sequence[RunRead]) -> bool:
    return any(run.new_model for run in runs)


def different_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of the configs, as ``a.b``, that do not have one value in all, but for the seed."""
    flat = [dict(_flat(config)) for config in configs]
    keys = sorted({key for one in flat for key in one} - {_SEED})
    return [key for key in keys if any(one.get(key) != flat[0].get(key) for one in flat)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
