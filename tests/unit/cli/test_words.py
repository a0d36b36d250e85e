"""Times, versions and names, as users type them and as they are shown."""

import io

import pytest
from rich.console import Console, RenderableType

from fedops.cli.access.tokens import seconds
from fedops.cli.beginnings import version_number
from fedops.cli.commands.tasks import config_lines
from fedops.cli.follow import RoundLines
from fedops.cli.logs import lines_of
from fedops.console.format import bytes_of
from fedops.console.models import explanations_table
from fedops.console.runs import (
    round_line,
    rounds_table,
    run_fields,
    runs_table,
    score_line,
    scores_of,
)
from fedops.console.telemetry_table import telemetry_table
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.states import ParticipationStatus, RunStatus


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("7d", 604_800)]
)
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0", "-1h", "soon", "1w", "1h30m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no time"):
        seconds(text)


@pytest.mark.parametrize(("text", "value"), [("V3", 3), ("v0", 0), ("12", 12)])
def test_versions_by_number_need_no_server(text: str, value: int) -> None:
    assert version_number(None, "task", text) == value  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "V", "-1", "V1.5", "La test"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no model version"):
        version_number(None, "task", text)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a b", "-a", "ä", "a" * 64, "a/b"])
def test_task_names(name: str) -> None:
    assert c.require_name("mnist-1.0_x") == "mnist-1.0_x"
    with pytest.raises(Invalid, match="is no name"):
        c.require_name(name)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1_800_000, "1.8 MB"), (5e12, "5000.0 GB")]
)
def test_sizes(size: float, text: str) -> None:
    assert bytes_of(size) == text


def test_a_config_is_shown_the_way_set_takes_it() -> None:
    config: dict[str, object] = {"batch_size": 32, "dataset": {"name": "MNIST", "root": None}}
    assert config_lines(config) == "batch_size = 32\ndataset.name = MNIST"


def a_round(**metrics: float) -> c.RoundRead:
    def part(device: str, status: ParticipationStatus, reason: str | None) -> c.ParticipationRead:
        return c.ParticipationRead(
            device=device,
            status=status,
            selection="all",
            reason=reason,
            examples=1,
            seconds=1.0,
            bytes_up=1,
            metrics={},
        )

    return c.RoundRead(
        round=2,
        attempt=1,
        started_at=0.0,
        committed_at=1.0,
        seconds=1.25,
        overhead_seconds=0.5,
        timing={"training": 0.75},
        metrics=metrics,
        participations=[
            part("pi-1", ParticipationStatus.REPLIED, None),
            part("pi-2", ParticipationStatus.DROPPED, "went offline"),
        ],
    )


def test_a_round_in_one_line_names_who_dropped_out_and_why() -> None:
    line = round_line(a_round(accuracy=0.9, loss=0.25), 5)
    assert line == (
        "round 2/5: accuracy 0.9000, loss 0.2500, 1.2 s, 1 of 2 replied; pi-2 dropped: went offline"
    )


def test_a_metric_that_is_missing_is_no_zero() -> None:
    line = round_line(a_round(), 5)
    assert line == "round 2/5: 1.2 s, 1 of 2 replied; pi-2 dropped: went offline"


def test_what_is_known_later_stands_in_the_next_round_s_line() -> None:
    first, second, third = (a_round().model_copy(update={"round": n}) for n in (1, 2, 3))
    scored = {n: a_round(loss=n / 4).model_copy(update={"round": n}) for n in (1, 2, 3)}
    lines = RoundLines()
    assert len(list(lines.new([first], 3))) == 1
    assert list(lines.new([scored[1]], 3)) == [], "it waits for a line of its own"
    (line,) = lines.new([scored[1], second], 3)
    assert line.endswith("; round 1 has loss 0.2500")
    (line,) = lines.new([scored[1], scored[2], third], 3)
    assert line.endswith("; round 2 has loss 0.5000")
    assert list(lines.new(list(scored.values()), 3, over=True)) == [
        "round 3/3: loss 0.7500 on the clients' data"
    ]


def test_what_is_known_at_once_is_said_once() -> None:
    lines = RoundLines()
    assert len(list(lines.new([a_round(loss=1.0)], 5))) == 1
    assert list(lines.new([a_round(loss=1.0)], 5, over=True)) == []


def a_run(number: int, status: RunStatus, why: str, **values: object) -> c.RunRead:
    shown = {
        "id": number,
        "task": "mammography",
        "status": status,
        "reason": None,
        "why": why,
        "rounds": 100,
        "committed_rounds": 100,
        "seed": 1,
        "config": {},
        "from_version": None,
        "version": None,
        "parent": None,
        "metrics": {},
        "created_at": 0.0,
        "started_at": 0.0,
        "ended_at": 1.0,
    }
    return c.RunRead.model_validate(shown | values)


def as_lines(table: RenderableType, width: int = 80) -> list[str]:
    screen = Console(width=width, record=True, file=io.StringIO())
    screen.print(table)
    return [line.rstrip() for line in screen.export_text().splitlines()]


def test_tables_fit_80_columns_and_cut_no_word() -> None:
    timing = dict.fromkeys(("waiting", "transfer", "training", "aggregation", "evaluation"), 12.34)
    rounds = [a_round(accuracy=0.9, loss=12.25).model_copy(update={"round": 100, "timing": timing})]
    telemetry = [
        c.TelemetryRead(
            at=1.0,
            run_id=7,
            values=dict.fromkeys(
                (
                    "cpu_percent",
                    "memory_percent",
                    "training_memory_mb",
                    "disk_free_mb",
                    "net_sent_bytes",
                    "net_received_bytes",
                ),
                999.5,
            ),
        )
    ]
    for shown in (rounds_table(rounds), telemetry_table(telemetry)):
        text = "\n".join(as_lines(shown))
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 80


def test_a_long_path_is_folded_and_not_cut() -> None:
    path = "/var/lib/" + "a" * 90
    run = a_run(7, RunStatus.RUNNING, f"the server's disk is full ({path}): free some space")
    for shown in (runs_table([run]), run_fields(run)):
        words = "".join("".join(as_lines(shown)).split())
        assert "…" not in words
        assert "freesomespace" in words


def test_a_column_that_says_nothing_is_left_out() -> None:
    done = a_run(7, RunStatus.COMPLETED, "completed 100 rounds; the global model is V2", version=2)
    head, _, row = as_lines(runs_table([done]))
    assert head.split() == ["RUN", "TASK", "STATUS", "ROUNDS", "MODEL"]
    assert row.split() == ["7", "mammography", "completed", "100/100", "V2"]
    failed = a_run(8, RunStatus.FAILED, "failed (app_error): no such column", parent=7)
    head, _, first, *_ = as_lines(runs_table([failed, done]))
    assert head.split() == ["RUN", "PARENT", "TASK", "STATUS", "ROUNDS", "MODEL", "WHY"]
    assert "failed (app_error): no such" in first


def test_explanations_show_drift_and_what_is_better_than_chance() -> None:
    scores = {
        "local/gradcam/deletion": 0.25,
        "local/gradcam/deletion_random": 0.75,
        "local/gradcam/insertion": 0.5,
        "local_over_rounds/layercam/worst": 0.125,
    }
    one = c.ExplanationRead(device="pi-1", round=2, scores=scores, alarms=["it looks elsewhere"])
    shown = Console(width=100)
    with shown.capture() as captured:
        shown.print(explanations_table([one]))
    text = captured.get()
    assert text.splitlines()[2].split() == ["2", "pi-1", "0.12", "-", "0.50", "-", "-"]
    assert "round 2, pi-1: it looks elsewhere" in text
    assert "No device let anything" in str(explanations_table([]))


def test_telemetry_has_the_columns_that_were_measured() -> None:
    samples = [
        c.TelemetryRead(at=1.0, run_id=None, values={"cpu_percent": 12.5}),
        c.TelemetryRead(at=2.0, run_id=7, values={"cpu_percent": 3, "net_sent_bytes": 2_500_000}),
    ]
    screen = Console(width=100, record=True, file=io.StringIO())
    screen.print(telemetry_table(samples))
    head, *_, first, second = (line.split() for line in screen.export_text().strip().splitlines())
    assert head == ["TIME", "RUN", "CPU", "%", "SENT"]
    assert first[-3:] == ["-", "12.5", "-"]
    assert second[-4:] == ["7", "3", "2.5", "MB"]
    assert "No telemetry yet" in str(telemetry_table([]))


def test_what_the_clients_measured_later_is_a_line_of_its_own() -> None:
    line = score_line(a_round(train_loss=9.0, f1=0.5, loss=0.25, accuracy=0.9), 5)
    assert line == "round 2/5: accuracy 0.9000, loss 0.2500, f1 0.5000 on the clients' data"
    assert scores_of(a_round(train_loss=9.0)) == {}
    assert "f1 0.5000" in round_line(a_round(f1=0.5), 5)


def test_what_colours_a_terminal_is_no_part_of_a_log_line() -> None:
    text = "\x1b[92mINFO\x1b[0m: ready\x07\n\x1b]0;title\x07loss [0.5]"
    entry = c.LogRead(
        id=1, at=0.0, source="server_app", run_id=1, attempt=1, round=2, device=None, text=text
    )
    first, second = lines_of(entry)
    assert first.endswith(" server_app r2 | INFO: ready")
    assert "\x1b" not in second
    assert second.endswith("loss [0.5]")
