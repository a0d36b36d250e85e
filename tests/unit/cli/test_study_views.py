"""What a terminal shows of studies and forecasts: within 80 columns, and nothing that is not known."""

import io

from rich.console import Console, RenderableType

from fedops.console.studies import forecast_view, summary_view
from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.results.summary import MetricSummary, RunScores, RunsSummary, Spread


def _shown(view: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _summary(*metrics: str) -> RunsSummary:
    spread = Spread(count=2, mean=0.5, std=0.1, min=0.4, max=0.6)
    scores = [
        RunScores(
            run=number,
            seed=40 + number,
            status=RunStatus.COMPLETED,
            committed_rounds=30,
            rounds=30,
            final=dict.fromkeys(metrics, 0.5 + number),
            best=dict.fromkeys(metrics, 0.6 + number),
            best_round=dict.fromkeys(metrics, 29),
        )
        for number in (1, 2)
    ]
    return RunsSummary(
        task="mnist",
        runs=scores,
        counted=[1, 2],
        metrics=[
            MetricSummary(metric=name, higher_is_better=True, final=spread, best=spread)
            for name in metrics
        ],
        planned=2,
        not_begun=[],
        notes=["some of these runs have the same seed"],
    )


def test_a_summary_fits_80_columns_and_cuts_no_number() -> None:
    text = _shown(summary_view(_summary("accuracy", "loss", "client_accuracy", "client_loss")))
    head, *rows = text.splitlines()
    assert head.split() == [
        *("RUN", "SEED", "STATUS", "ROUNDS"),
        *("ACCURACY", "BEST", "ROUND", "LOSS", "BEST", "ROUND"),
    ]
    assert rows[1].split() == [
        "1",
        "41",
        "completed",
        "30/30",
        "1.5000",
        "1.6000",
        "(29)",
        "1.5000",
        "1.6000",
        "(29)",
    ]
    last = ["client_loss", "last", "round", "2", "0.5000", "0.1000", "0.4000", "0.6000"]
    assert last in [row.split() for row in rows]
    assert "…" not in text
    assert text.endswith("note: some of these runs have the same seed\n")


def test_a_metric_with_a_long_name_is_shown_alone() -> None:
    text = _shown(summary_view(_summary("mean_average_precision_at_50", "loss")))
    assert "MEAN_AVERAGE_PRECISION_AT_50" in text.splitlines()[0]
    assert "LOSS" not in text


def _forecast(**known: object) -> c.RunForecast:
    plain = c.RunForecast(
        task="mnist",
        plan="1 device ready",
        rounds=2,
        asked=1,
        counts_with=1,
        devices=[c.DeviceForecast(device="pi", unavailable=None)],
        seed=7,
        bundle="0" * 64,
        from_version=None,
        config={},
    )
    return plain.model_copy(update=known)


def test_what_no_run_has_shown_is_unknown_and_how_to_know_it_is_said() -> None:
    text = _shown(forecast_view(_forecast(), [7]))
    assert text.count("unknown") == 6  # device, examples, bytes twice, time; and the hint
    assert "\n  fedops run start mnist --set num_rounds=1\n" in text
    assert text.endswith("Nothing was started.\n")


def test_bytes_and_time_are_of_all_runs_of_a_study() -> None:
    devices = [c.DeviceForecast(device="pi", unavailable=None, examples=100, examples_run=3)]
    found = _forecast(
        devices=devices,
        bytes_down=1_000_000,
        bytes_up=500_000,
        round_seconds=4.0,
        outside_seconds=2.0,
        measured_rounds=5,
        measured_run=3,
    )
    text = _shown(forecast_view(found, [7, 8, 9]), width=200)
    assert "unknown" not in text
    assert "12.0 MB" in text  # 3 runs: twice down and up, and once more down
    assert "about 30 s: 4.0 s a round (the median of 5 rounds of run 3), 2.0 s a run" in text
