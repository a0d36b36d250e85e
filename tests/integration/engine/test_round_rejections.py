"""Clients that reply wrongly: rejected, refused, failed, without data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from in_memory_federation import Answer, Refused, Work, examples, plain_rounds
from round_parts import AT_LEAST_ONE, AT_LEAST_TWO, Make, model, participation, rounds_of, same

from fedops.core.contracts.training import ARRAYS, HEADER, METRICS
from fedops.core.states import AssignmentStatus, FailureReason, ParticipationStatus
from fedops.engine import round_commit, round_engine
from fedops.engine.link.exit_reasons import RunFailed
from fedops.storage.payloads import Payload

Spoil = Callable[[dict[str, Any], dict[str, Any]], None]


def spoilt(client: Answer, spoil: Spoil, times: int = 99) -> Answer:
    """Spoils the arrays or the metrics of the first results."""
    left = [times]

    def answer(work: Work) -> Payload | Refused | bytes | None:
        result = client(work)
        if isinstance(result, Payload) and ARRAYS in result.arrays and left[0]:
            left[0] -= 1
            arrays = {k: np.array(a) for k, a in result.arrays[ARRAYS].items()}
            metrics = {name: dict(values) for name, values in result.metrics.items()}
            spoil(arrays, metrics)
            return Payload({ARRAYS: arrays}, metrics, result.configs)
        return result

    return answer


def _nan(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
    arrays["w"][1] = np.nan


def _shape(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
    arrays["w"] = arrays["w"].reshape(1, 3)


def _nothing(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
    metrics[METRICS]["num-examples"] = 0


def _negative(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
    metrics[METRICS]["num-examples"] = -5


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_nan, "the reply of device 'bad' is refused: 1 of 3 values of 'w' are NaN or infinite"),
        (
            _shape,
            "the reply of device 'bad' is refused: 'w' is float32[1, 3] in it and float32[3] in the model",
        ),
        (
            _nothing,
            "the reply of device 'bad' is refused: its number of examples is 0, and must be",
        ),
        (
            _negative,
            "the reply of device 'bad' is refused: its number of examples is -5, and must be",
        ),
    ],
)
def test_a_wrong_update_is_rejected_and_the_round_goes_on(
    federation: Make, spoil: Spoil, reason: str
) -> None:
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=3)
    fed.server.add("bad", spoilt(fed.client("bad"), spoil))
    fed.play()
    commit = fed.server.commits[0]
    report = participation(commit, "bad")
    assert report.status is ParticipationStatus.REJECTED
    assert report.reason is not None
    assert report.reason.startswith(reason)
    assert same(model(fed), plain_rounds(["pi-1", "pi-2"], 1)[0])
    assert "bad" not in commit.refused


@pytest.mark.parametrize("seconds", [np.inf, np.nan, -1.0, 1e300])
@pytest.mark.parametrize("part", ["train-seconds", "evaluate-seconds"])
def test_a_time_that_is_none_is_rejected_and_ends_no_run(
    federation: Make, part: str, seconds: float
) -> None:
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=3)
    honest = fed.client("bad")

    def answer(work: Work) -> Payload:
        result = honest(work)
        assert isinstance(result, Payload)
        configs = {HEADER: {**result.configs[HEADER], part: float(seconds)}}
        return Payload(result.arrays, result.metrics, configs)

    fed.server.add("bad", answer)
    fed.play()
    report = participation(fed.server.commits[0], "bad")
    assert report.status is ParticipationStatus.REJECTED
    assert report.reason is not None
    assert report.reason.startswith("the reply of device 'bad' is refused: it took")


def test_a_device_with_another_model_is_refused_for_the_run(federation: Make) -> None:
    fed = federation("pi-1", "pi-2", server=AT_LEAST_TWO)
    fed.add("other", size=4)
    fed.play()
    assert fed.server.commits[0].refused == {
        "other": "its model (here) differs from the run's (there):"
        " 'w': float32[4] (mean) here, float32[3] (mean) there"
    }
    assert participation(fed.server.commits[0], "other").status is ParticipationStatus.REJECTED
    assert fed.server.asked.count("other") == 1
    assert len(fed.server.commits) == 2


def test_the_odd_data_set_out_is_refused(federation: Make) -> None:
    fed = federation("pi-1", "pi-2", server=AT_LEAST_TWO)
    fed.add("a-digits", dataset="digits")
    fed.play()
    assert fed.server.commits[0].refused == {
        "a-digits": "its data set is 'digits', and the run's is 'lines'"
    }
    assert fed.server.commits[0].dataset == "lines"
    assert same(model(fed, 0), plain_rounds(["pi-1", "pi-2"], 1)[0])


def test_the_servers_data_set_says_what_the_run_is_about(federation: Make) -> None:
    fed = federation(num_rounds=1, server=AT_LEAST_ONE)
    fed.validation = (examples(1, 5), "digits")
    fed.add("pi-1", "pi-2")
    fed.add("pi-3", dataset="digits")
    fed.play()
    assert set(fed.server.commits[0].refused) == {"pi-1", "pi-2"}


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "on-its-way"])
def test_an_update_that_the_server_takes_back_is_not_aggregated(
    federation: Make, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does when the device is revoked; whether or not the engine's verdict on it is there."""
    monkeypatch.setattr(round_engine, "FINAL_WAIT_SECONDS", 0.2)
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=3)
    out = fed.client("pi-3")

    def waits(work: Work) -> Payload | Refused | None:
        if work.kind == "train":
            fed.until(lambda: any(p.replied == ["pi-2", "pi-3"] for p in fed.server.progresses))
            (one,) = fed.server.of_device("pi-3")
            if noted:
                fed.until(lambda: one.status is AssignmentStatus.CHECKED)
            fed.server.take_back(one, "device revoked")
        return client(work)

    client = fed.server.answers["pi-1"]
    fed.server.add("pi-1", waits)
    fed.server.add("pi-3", out)
    fed.play()
    report = participation(fed.server.commits[0], "pi-3")
    assert (report.status, report.reason) == (ParticipationStatus.REJECTED, "device revoked")
    assert same(model(fed), plain_rounds(["pi-1", "pi-2"], 1)[0])
    assert [one.kind for one in fed.server.of_device("pi-3")].count("train") == 1


def test_a_device_without_data_sits_out(federation: Make) -> None:
    fed = federation("pi-1", "pi-2", num_rounds=1)
    fed.add("empty", data=[])
    fed.play()
    assert fed.server.commits[0].refused == {"empty": "this device has no example to train on"}


def test_a_client_that_fails_is_recorded_with_its_words(federation: Make) -> None:
    def failing(work: Work) -> Payload | Refused | None:
        raise ValueError("no such column")

    fed = federation("pi-1", num_rounds=1, clients_per_round=2, server=rounds_of(min_replies=1))
    fed.server.add("pi-2", failing)
    fed.play()
    report = participation(fed.server.commits[0], "pi-2")
    assert report.status is ParticipationStatus.DROPPED
    assert report.reason == "ValueError: no such column"


def test_a_run_whose_clients_all_fail_ends_with_their_words(federation: Make) -> None:
    def failing(work: Work) -> Payload | Refused | None:
        raise ValueError("no such column")

    fed = federation(clients_per_round=1)
    fed.server.add("pi-1", failing)
    with pytest.raises(RunFailed, match="in 4 tries: pi-1: ValueError: no such column") as f:
        fed.play()
    assert f.value.reason is FailureReason.APP_ERROR


def test_devices_that_lack_something_are_no_mistake_of_the_app(federation: Make) -> None:
    said = "the device's disk is full (/home/pi): free some space"

    def full(work: Work) -> Payload | Refused | None:
        raise type(said, (OSError,), {})("No space left on device")

    fed = federation(clients_per_round=1)
    fed.server.add("pi-1", full)
    with pytest.raises(RunFailed, match="in 4 tries: pi-1: the device's disk is full") as f:
        fed.play()
    assert f.value.reason is FailureReason.TOO_FEW_CLIENTS


def test_nobody_waits_for_a_device_that_refuses(federation: Make) -> None:
    policy = rounds_of(wait_seconds=60)
    fed = federation("pi-1", "pi-2", num_rounds=2, clients_per_round=3, server=policy)
    fed.add("pi-3", dataset="digits")
    fed.play()
    assert [c.round for c in fed.server.commits] == [1, 2]
    why = "its data set is 'digits', and the run's is 'lines'"
    assert fed.server.commits[0].refused == {"pi-3": why}
    assert [p.device for p in fed.server.commits[1].participations] == ["pi-1", "pi-2"]


def test_when_those_who_refuse_leave_too_few_the_run_ends_at_once_and_names_them(
    federation: Make,
) -> None:
    policy = rounds_of(wait_seconds=60, min_replies=3)
    fed = federation("pi-1", "pi-2", num_rounds=2, clients_per_round=3, server=policy)
    fed.add("pi-3", dataset="digits")
    with pytest.raises(RunFailed) as failed:
        fed.play()
    assert failed.value.reason is FailureReason.APP_ERROR
    assert failed.value.text == (
        "2 of 3 devices take part, a round needs 3: "
        "pi-3: its data set is 'digits', and the run's is 'lines'"
    )


def _many_examples(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
    metrics[METRICS]["num-examples"] = 2**53 - 1


def _far_away(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
    arrays["w"][:] = 1e38


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_many_examples, "trained on 9007199254740991 examples, more than 10 times"),
        (_far_away, "it changed the model by inf (L2 norm), more than 20 times"),
    ],
)
def test_one_device_cannot_take_the_model_over(federation: Make, spoil: Spoil, words: str) -> None:
    names = ["pi-1", "pi-2", "pi-3"]
    fed = federation(*names, num_rounds=1, clients_per_round=4, server=rounds_of(min_replies=3))
    fed.server.add("evil", spoilt(fed.client("evil"), spoil))
    fed.play()
    report = participation(fed.server.commits[0], "evil")
    assert report.status is ParticipationStatus.REJECTED
    assert words in (report.reason or "")
    assert same(model(fed), plain_rounds(names, 1)[0])


def test_many_metrics_fit_into_a_commit(federation: Make) -> None:
    def chatty(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        metrics[METRICS] |= {f"m{index}": 1.0 for index in range(round_commit.OF_EACH + 30)}

    def too_chatty(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        metrics[METRICS] |= {f"m{index}": 1.0 for index in range(1_500)}

    fed = federation("pi-1", num_rounds=1, clients_per_round=3, server=rounds_of(min_replies=2))
    fed.server.add("chatty", spoilt(fed.client("chatty"), chatty))
    fed.server.add("too", spoilt(fed.client("too"), too_chatty))
    fed.play()
    commit = fed.server.commits[0]
    assert "metrics, more than 1000" in (participation(commit, "too").reason or "")
    assert len(participation(commit, "chatty").metrics) > round_commit.OF_EACH + 30


def test_a_commit_has_a_bound(federation: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_commit, "MOST_METRICS", 60)
    monkeypatch.setattr(round_commit, "MOST_MEANS", 5)

    def chatty(arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
        metrics[METRICS] |= {f"m{index}": 1.0 for index in range(100)}

    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=3)
    fed.server.add("chatty", spoilt(fed.client("chatty"), chatty))
    fed.play()
    commit = fed.server.commits[0]
    assert len(participation(commit, "chatty").metrics) == 20
    assert len(commit.train_metrics) == 5
    assert "train_loss" in commit.train_metrics, "what all report comes first"
