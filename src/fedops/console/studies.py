"""Studies, summaries over runs, and runs before they are started, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType

from fedops.console.format import bytes_of, coloured, fields, number, or_dash, table, version_name
from fedops.core import contracts as c
from fedops.core.reasons.durations import duration, pluralised
from fedops.results.summary import MetricSummary, RunsSummary, Spread

#: The columns of a terminal, and those that a row of runs takes without metrics: of these, as many are shown
#: as there is room for, and one at least. --json has all.
_WIDTH = 80
_WITHOUT_METRICS = 31
#: What a value and a best round take, each with its gap: "   0.8750   0.9000 (12)".
_VALUE, _BEST = 9, 14


def study_line(study: c.StudyRead) -> str:
    """What will happen, when it was started."""
    seeds = ", ".join(map(str, study.seeds))
    origin = (
        "each from an initial model of its own seed"
        if study.from_version is None
        else f"each from {version_name(study.from_version)}"
    )
    first = study.runs[0]
    return (
        f"Study {study.id} of {study.task}: {pluralised(len(study.seeds), 'run')}, one after another, "
        f"{origin}; seeds {seeds}. Run {first.id} is {first.status}. "
        f"'fedops run summary {first.id}' shows mean and spread."
    )


def summary_view(summary: RunsSummary) -> RenderableType:
    """The runs, then mean and spread over those that are completed."""
    count = len(summary.counted)
    head = f"{count} of {pluralised(summary.planned, 'run')} of {summary.task} completed."
    notes = [f"note: {note}" for note in summary.notes]
    if not count:
        return Group(_runs(summary), "", f"{head} There is nothing to average yet.", *notes)
    return Group(_runs(summary), "", head, "", _spreads(summary), *notes)


def _runs(summary: RunsSummary) -> RenderableType:
    names = _names(summary)
    titles = [title for name in names for title in (name.upper(), "BEST ROUND")]
    result = table("RUN", "SEED", "STATUS", "ROUNDS", *titles, right=("RUN", "SEED", *titles))
    for one in summary.runs:
        cells = [
            cell for name in names for cell in _cells(one.final, one.best, one.best_round, name)
        ]
        done = f"{one.committed_rounds}/{one.rounds}"
        result.add_row(str(one.run), str(one.seed), coloured(one.status), done, *cells)
    return result


def _names(summary: RunsSummary) -> list[str]:
    names = [metric.metric for metric in summary.metrics]
    names = names or sorted({name for one in summary.runs for name in one.final})
    shown, left = names[:1], _WIDTH - _WITHOUT_METRICS - sum(map(_width, names[:1]))
    for name in names[1:]:
        left -= _width(name)
        if left < 0:
            break
        shown.append(name)
    return shown


def _width(name: str) -> int:
    return max(_VALUE, len(name) + 3) + _BEST


def _cells(
    final: Mapping[str, float], best: Mapping[str, float], rounds: Mapping[str, int], name: str
) -> tuple[str, str]:
    where = f" ({rounds[name]})" if name in rounds else ""
    return number(final.get(name)), number(best.get(name)) + where


def _spreads(summary: RunsSummary) -> RenderableType:
    numbers = ("RUNS", "MEAN", "STD", "MIN", "MAX")
    result = table("METRIC", "OF", *numbers, right=numbers)
    for metric in summary.metrics:
        result.add_row(metric.metric, "last round", *_spread(metric.final))
        result.add_row("", _best(metric), *_spread(metric.best))
    return result


def _best(metric: MetricSummary) -> str:
    return "best (highest)" if metric.higher_is_better else "best (lowest)"


def _spread(spread: Spread) -> tuple[str, ...]:
    values = (spread.mean, spread.std, spread.min, spread.max)
    return (str(spread.count), *(number(value) for value in values))


def forecast_view(forecast: c.RunForecast, seeds: list[int]) -> RenderableType:
    """What a run, or one run for each of the seeds, would be. Nothing was started."""
    devices = table("DEVICE", "NOW", "EXAMPLES", right=("EXAMPLES",))
    for one in forecast.devices:
        devices.add_row(one.device, one.unavailable or "ready", _examples(one))
    told: list[RenderableType] = [devices] if forecast.devices else ["No device takes part yet."]
    config = _lines(forecast.config)
    end = [_hint(forecast.task), _NOTHING] if _unknown(forecast) else [_NOTHING]
    return Group(*told, "", fields(_fields(forecast, seeds)), "", "config:", *config, "", *end)


def _examples(one: c.DeviceForecast) -> str:
    if one.examples is None:
        return "unknown"
    return str(one.examples) + (f" (run {one.examples_run})" if one.examples_run else "")


_NOTHING = "Nothing was started."


def _hint(task: str) -> str:
    return (
        f"A run of one round shows what is unknown:\n  fedops run start {task} --set num_rounds=1"
    )


def _unknown(forecast: c.RunForecast) -> bool:
    examples = any(one.examples is None for one in forecast.devices)
    return examples or forecast.total_bytes is None or forecast.total_seconds is None


def _fields(forecast: c.RunForecast, seeds: list[int]) -> dict[str, str]:
    runs = len(seeds)
    start = "an initial model, made from the seed"
    if forecast.from_version is not None:
        start = version_name(forecast.from_version)
    found = {
        "task": forecast.task,
        "plan": forecast.plan,
        "examples": examples_text(forecast),
        "seeds" if runs > 1 else "seed": ", ".join(map(str, seeds)),
        "starts from": start,
        "app bundle": forecast.bundle[:16],
        "bytes a device": _bytes_text(forecast),
        "bytes in all": _total(forecast.total_bytes, runs),
        "time": _time_text(forecast, runs),
    }
    return {"runs": f"{runs}, one after another", **found} if runs > 1 else found


def examples_text(forecast: c.RunForecast) -> str:
    """How many examples the devices have that could be asked now, as far as it is known."""
    ready = [one for one in forecast.devices if one.unavailable is None]
    known = [one.examples for one in ready if one.examples is not None]
    if not known:
        return (
            "unknown: none of these devices has told it or trained in this task yet"
            if ready
            else "-"
        )
    unknown = len(ready) - len(known)
    more = f", and of {pluralised(unknown, 'device')} unknown" if unknown else ""
    return f"{sum(known)} on {pluralised(len(known), 'device')}{more}"


def _bytes_text(forecast: c.RunForecast) -> str:
    each, down, up = forecast.bytes_a_device, forecast.bytes_down, forecast.bytes_up
    if each is None or down is None or up is None:
        return "unknown: the task has no model yet"
    return (
        f"{bytes_of(each)}: each round {bytes_of(down)} down and {bytes_of(up)} up "
        f"({forecast.bytes_from}), and the last model to evaluate it"
    )


def _total(size: int | None, runs: int) -> str:
    return "unknown" if size is None else bytes_of(size * runs)


def _time_text(forecast: c.RunForecast, runs: int) -> str:
    each, total = forecast.round_seconds, forecast.total_seconds
    if each is None or total is None:
        return "unknown: no round of this task was measured yet"
    measured = pluralised(forecast.measured_rounds, "round")
    return (
        f"about {duration(total * runs)}: {each:.1f} s a round (the median of {measured} of run "
        f"{or_dash(forecast.measured_run)}), {forecast.outside_seconds:.1f} s a run to start and end"
    )


def _lines(table_: Mapping[str, object], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in sorted(table_.items()):
        if isinstance(value, Mapping):
            found += _lines(value, f"{prefix}{key}.")
        else:
            found.append(f"  {prefix}{key} = {value!r}")
    return found
