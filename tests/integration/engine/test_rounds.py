"""The round engine from the first message to the last commit, with clients that do what clients do."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paper_federation import (
    Answer,
    Conflict,
    PaperFederation,
    Refused,
    Unavailable,
    Work,
    examples,
    plain_rounds,
)

from fedops.core.contracts import ParticipationReport, RoundCommit
from fedops.core.contracts.training import ARRAYS, METRICS
from fedops.core.states import AssignmentStatus, FailureReason, ParticipationStatus
from fedops.engine import collecting
from fedops.engine.link.exit_reasons import RunFailed, StopRequested, Superseded
from fedops.storage import tensors as tensors_module
from fedops.storage.payloads import Payload
from fedops.storage.tensors import Tensors

THREE = ["pi-1", "pi-2", "pi-3"]
AT_LEAST_ONE = {"strategy": {"_target_": "FedAvg", "min_fit_clients": 1}}
AT_LEAST_TWO = {"strategy": {"_target_": "FedAvg", "min_fit_clients": 2}}
Make = Callable[..., PaperFederation]


@pytest.fixture
def federation(tmp_path: Path) -> Any:
    made: list[PaperFederation] = []

    def make(*devices: str, name: str = "one", **config: Any) -> PaperFederation:
        made.append(PaperFederation(tmp_path / name, **config))
        (tmp_path / name).mkdir()
        made[-1].add(*devices)
        return made[-1]

    yield make
    for each in made:
        each.server.close()


def rounds_of(**policy: Any) -> dict[str, Any]:
    return {"round": policy}


def same(one: Tensors, other: Tensors) -> bool:
    return {k: a.tobytes() for k, a in sorted(one.items())} == {
        k: a.tobytes() for k, a in sorted(other.items())
    }


def model(federation: PaperFederation, commit: int = -1) -> Tensors:
    return federation.server.tensors(federation.server.commits[commit].model)


def participation(commit: RoundCommit, device: str) -> ParticipationReport:
    return next(p for p in commit.participations if p.device == device)


# --- all goes well -----------------------------------------------------------------------------


def test_every_round_equals_a_plain_loop_bit_for_bit(federation: Make) -> None:
    fed = federation(*THREE, num_rounds=3, clients_per_round=3)
    fed.play()
    expected = plain_rounds(THREE, 3)
    assert [c.round for c in fed.server.commits] == [1, 2, 3]
    assert all(same(model(fed, i), expected[i]) for i in range(3))


def test_what_a_commit_says(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3)
    fed.validation = (examples(1, 5), "lines")
    final = fed.play()
    commit = fed.server.commits[-1]
    assert set(commit.metrics) == {"loss"} == set(commit.client_metrics) == set(final)
    assert set(commit.train_metrics) == {"train_loss"}
    assert commit.dataset == "lines"
    assert commit.strategy_state is None
    assert set(commit.timing) == {"waiting", "transfer", "training", "aggregation", "evaluation"}
    assert 0 <= commit.overhead_seconds <= commit.seconds
    assert sum(commit.timing.values()) <= commit.seconds + 0.01
    report = participation(commit, "pi-2")
    assert (report.status, report.examples, report.reason) == (ParticipationStatus.REPLIED, 5, None)
    assert report.bytes_up is not None
    assert 500 < report.bytes_up < 2_000
    assert "train_loss" in report.metrics


def test_clients_are_told_apart_from_those_who_evaluate(federation: Make) -> None:
    strategy = {"_target_": "FedAvg", "fraction_evaluate": 1e-6, "min_evaluate_clients": 1}
    fed = federation(*THREE, clients_per_round=3, server={"strategy": strategy})
    fed.play()
    for commit in fed.server.commits:
        assert sum("eval_loss" in p.metrics for p in commit.participations) == 1


def test_nobody_evaluates_when_the_fraction_is_nothing(federation: Make) -> None:
    strategy = {"_target_": "FedAvg", "fraction_evaluate": 0.0}
    fed = federation(*THREE, clients_per_round=3, server={"strategy": strategy})
    assert fed.play() == {}
    assert fed.server.commits[-1].client_metrics == {}
    assert len(fed.server.asked) == 6


def test_every_update_gets_its_verdict_and_equal_documents_are_given_once(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3)
    fed.play()
    assert {one.status for one in fed.server.assignments} == {AssignmentStatus.CHECKED}
    assert [len(batch.instructions) for batch in fed.server.batches] == [1, 1, 1]
    assert {batch.model for batch in fed.server.batches[1:]} == {
        c.model for c in fed.server.commits
    }


def test_only_the_last_round_stays_on_disk(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3, num_rounds=3)
    fed.play()
    names = sorted(path.name for path in (fed.folder / "attempt-1").iterdir())
    assert names == ["final", "model-00003.safetensors", "round-00003", "start.safetensors"]


def test_clients_are_drawn_by_seed(federation: Make) -> None:
    drawn = []
    for name in ("one", "two"):
        fed = federation(*THREE, "pi-4", "pi-5", name=name, clients_per_round=2, num_rounds=4)
        fed.play()
        drawn.append(fed.server.begun)
    assert drawn[0] == drawn[1]
    assert len({frozenset(selected) for _, selected in drawn[0]}) > 1
    assert all(len(selected) == 2 for _, selected in drawn[0])
    assert "drawn uniformly: 2 of 5" in next(iter(drawn[0][0][1].values()))


def test_fedprox_reaches_the_clients(federation: Make) -> None:
    seen: list[float] = []
    strategy = {"_target_": "FedProx", "proximal_mu": 0.5}
    fed = federation(num_rounds=1, clients_per_round=1, server={"strategy": strategy})
    client = fed.client("pi-1")

    def watch(work: Work) -> Payload | Refused | None:
        seen.append(work.order.number("proximal-mu"))
        return client(work)

    fed.server.add("pi-1", watch)
    fed.play()
    assert seen[0] == 0.5


def test_a_robust_strategy_gets_every_reply(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3, server={"strategy": {"_target_": "FedMedian"}})
    fed.play()
    first = plain_rounds(THREE, 1)[0]
    assert not same(model(fed, 0), first)
    assert model(fed, 0)["steps"] == first["steps"]


# --- a run that is continued -------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["FedAvg", "FedAdam", "FedAvgM", "FedYogi"])
def test_a_continued_run_equals_an_undisturbed_one(federation: Make, strategy: str) -> None:
    arguments = {"server_momentum": 0.9} if strategy == "FedAvgM" else {}
    server = {"strategy": {"_target_": strategy, **arguments}}
    straight = federation(*THREE, name="a", num_rounds=4, clients_per_round=3, server=server)
    straight.play()

    broken = federation(*THREE, name="b", num_rounds=4, clients_per_round=3, server=server)
    for _ in range(3):
        broken.server.on_commit = lambda _: broken.server.failing["commit"].append(
            Conflict("killed")
        )
        broken.server.failing["commit"].clear()
        with pytest.raises(Superseded):
            broken.play()
    broken.server.failing["commit"].clear()
    broken.server.on_commit = lambda _: None
    broken.play()

    assert [c.round for c in broken.server.commits] == [1, 2, 3, 4]
    assert [c.model for c in broken.server.commits] == [c.model for c in straight.server.commits]
    states = [[c.strategy_state for c in fed.server.commits] for fed in (straight, broken)]
    assert states[0] == states[1]
    assert (states[0][0] is None) == (strategy == "FedAvg")


def test_a_finished_run_that_is_asked_again_only_evaluates(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3)
    fed.play()
    assert set(fed.play()) == {"loss"}
    assert len(fed.server.commits) == 2


def test_local_tensors_are_kept_per_round_on_the_device(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3)
    fed.play()
    states = fed.memories["pi-1"].states
    assert [round_ for _, round_ in sorted(states)] == [0, 1, 2]
    assert [float(states[5, r]["own"][0]) for r in (0, 1, 2)] == [1.0, 0.5, 0.25]
    assert model(fed)["own"].tolist() == [1.0, 1.0]


# --- clients that do not reply -----------------------------------------------------------------


def silent(work: Work) -> None:
    return None


def test_a_straggler_is_recorded_and_asked_again_next_round(federation: Make) -> None:
    policy = rounds_of(deadline_seconds=0.6, min_replies=2)
    fed = federation("pi-1", "pi-2", clients_per_round=3, server=policy)
    fed.server.add("slow", silent)
    fed.play()
    for commit in fed.server.commits:
        report = participation(commit, "slow")
        assert report.status is ParticipationStatus.DROPPED
        assert report.reason == "no reply before the deadline of the round"
    assert fed.server.asked.count("slow") == 2


def test_a_late_reply_is_put_away(federation: Make) -> None:
    policy = rounds_of(deadline_seconds=0.5, min_replies=1)
    fed = federation("pi-1", num_rounds=2, clients_per_round=2, server=policy)
    client, first, released = fed.client("late"), [True], threading.Event()

    def late(work: Work) -> Payload | Refused | None:
        if first.pop() if first else False:
            released.wait(10)
        return client(work)

    fed.server.on_commit = lambda commit: released.set()
    fed.server.add("late", late)
    fed.play()
    assert participation(fed.server.commits[0], "late").status is ParticipationStatus.DROPPED
    assert participation(fed.server.commits[1], "late").status is ParticipationStatus.REPLIED


def test_the_round_goes_on_without_a_device_that_went_offline(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 0.2)
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=3)

    def leaving(work: Work) -> None:
        fed.server.gone("pi-3", "offline, last seen 9 s ago")

    fed.server.add("pi-3", leaving)
    fed.play()
    report = participation(fed.server.commits[0], "pi-3")
    assert (report.status, report.reason) == (
        ParticipationStatus.DROPPED,
        "offline, last seen 9 s ago",
    )
    assert fed.server.commits[0].seconds < 5


def test_a_device_that_comes_back_in_time_takes_part(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 5.0)
    fed = federation("pi-1", num_rounds=1, clients_per_round=2)
    client = fed.client("pi-2")

    def coming_back(work: Work) -> Payload | Refused | None:
        fed.server.gone("pi-2", "offline")
        return client(work)

    fed.server.add("pi-2", coming_back)
    fed.play()
    assert participation(fed.server.commits[0], "pi-2").status is ParticipationStatus.REPLIED


def test_another_client_takes_the_place_of_one_that_is_gone(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 0.1)
    policy = rounds_of(min_replies=2)
    fed = federation("pi-1", num_rounds=1, clients_per_round=2, server=policy)
    spare = fed.client("pi-3")

    def leaving(work: Work) -> None:
        fed.server.unavailable["pi-2"] = "offline"
        fed.server.add("pi-3", spare)
        fed.server.gone("pi-2", "offline")

    fed.server.add("pi-2", leaving)
    fed.play()
    commit = fed.server.commits[0]
    statuses = {p.device: p.status.value for p in commit.participations}
    assert statuses == {"pi-1": "replied", "pi-2": "dropped", "pi-3": "replied"}
    assert (
        fed.server.asked.count("pi-1") == 2
    )  # the round and the final evaluation: its reply was kept
    assert set(fed.server.begun[-1][1]) == {"pi-1", "pi-2", "pi-3"}


def test_the_final_model_is_evaluated_by_clients_that_were_away_for_a_moment(
    federation: Make,
) -> None:
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=2)
    back = threading.Timer(0.5, fed.server.unavailable.clear)

    def all_leave(_: RoundCommit) -> None:
        fed.server.unavailable |= {"pi-1": "offline", "pi-2": "offline"}
        back.start()

    fed.server.on_commit = all_leave
    assert fed.play().keys() == {"loss"}
    back.join()


def test_over_selection_ends_the_round_with_the_replies_wanted(federation: Make) -> None:
    policy = rounds_of(over_select=0.5, min_replies=2)
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=2, server=policy)
    fed.server.add("pi-3", silent)
    fed.play()
    commit = fed.server.commits[0]
    assert participation(commit, "pi-3").reason == "the round was complete with 2 replies"


def test_too_few_replies_end_the_run_after_the_retries(federation: Make) -> None:
    policy = rounds_of(deadline_seconds=0.2, min_replies=2, max_retries=1)
    fed = federation("pi-1", clients_per_round=2, server=policy)
    fed.server.add("pi-2", silent)
    with pytest.raises(RunFailed) as failed:
        fed.play()
    assert failed.value.reason is FailureReason.TOO_FEW_CLIENTS
    assert failed.value.text == (
        "round 1 got 1 of the 2 replies it needs in 2 tries: pi-2: no reply before the deadline of the round"
    )


# --- clients that reply wrongly ----------------------------------------------------------------


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
    federation: Make, noted: bool
) -> None:
    """As it does when the device is revoked; whether or not the engine's verdict on it is there."""
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

    fed = federation("pi-1", num_rounds=1, clients_per_round=2, server=AT_LEAST_ONE)
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


# --- too few clients, stop, pause --------------------------------------------------------------


def test_too_few_clients_are_waited_for_with_a_reason_and_then_given_up(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=3, server=rounds_of(wait_seconds=0.5))
    fed.add("pi-2")
    fed.server.unavailable["pi-2"] = "offline, last seen 41 s ago"
    with pytest.raises(RunFailed) as failed:
        fed.play()
    why = "waiting for 2 more clients: 1 of 3 available; pi-2: offline, last seen 41 s ago"
    assert failed.value.reason is FailureReason.TOO_FEW_CLIENTS
    assert failed.value.text == f"gave up after 0 s: {why}"
    assert any(
        p.phase == "waiting" and p.detail == why and p.needed == 3 for p in fed.server.progresses
    )
    assert fed.server.asked == []


def test_a_round_begins_when_there_are_enough_clients(federation: Make) -> None:
    fed = federation("pi-1", num_rounds=1, clients_per_round=2)
    playing = fed.play_aside()
    fed.until(lambda: any(p.phase == "waiting" for p in fed.server.progresses))
    fed.add("pi-2")
    assert playing.end() is None
    assert fed.server.commits[0].timing["waiting"] > 0.1


@pytest.mark.parametrize(("command", "outcome"), [("stop", "stopped"), ("pause", "paused")])
@pytest.mark.parametrize("devices", [[], ["pi-1"]])
def test_a_command_ends_the_attempt_at_once(
    federation: Make, command: str, outcome: str, devices: list[str]
) -> None:
    fed = federation(clients_per_round=1)
    for device in devices:
        fed.server.add(device, silent)
    playing = fed.play_aside()
    fed.until(lambda: fed.server.progresses and (not devices or fed.server.asked))
    fed.server.order(command)
    error = playing.end(3)
    assert isinstance(error, StopRequested)
    assert error.outcome == outcome


def test_a_command_with_the_commit_ends_after_it(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1, num_rounds=5)
    fed.server.on_commit = lambda commit: fed.server.order("pause")
    with pytest.raises(StopRequested):
        fed.play()
    assert len(fed.server.commits) == 1


# --- the rest of the world fails ---------------------------------------------------------------


def test_a_server_that_is_away_for_a_moment_is_waited_for(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3)
    gone = [Unavailable("cannot reach the Server Manager")] * 2
    for name in ("candidates", "hand_over", "begin_round", "commit", "collect", "progress"):
        fed.server.failing[name] = list(gone)
    fed.play()
    assert len(fed.server.commits) == 2


def test_a_server_that_stays_away_ends_the_attempt(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1)
    fed.server.failing["candidates"] = [Unavailable("away")] * 100
    with pytest.raises(Unavailable):
        fed.play(retry_seconds=0.3)


def test_a_superseded_attempt_ends_quietly_while_it_waits(federation: Make) -> None:
    fed = federation(clients_per_round=1)
    fed.server.add("pi-1", silent)
    playing = fed.play_aside()
    fed.until(lambda: fed.server.asked)
    fed.server.failing["collect"] = [Conflict("attempt 2 is current")]
    fed.server.gone("pi-1", "offline")
    assert isinstance(playing.end(5), Superseded)


def test_a_strategy_that_gives_no_model_fails_the_run(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1, server={"strategy": {"_target_": "Bulyan"}})
    with pytest.raises(
        RunFailed, match="round 1: the strategy Bulyan gave no model from 1 replies"
    ) as failed:
        fed.play()
    assert failed.value.reason is FailureReason.AGGREGATION_ERROR


def test_a_strategy_that_diverges_is_stopped_before_it_is_committed(federation: Make) -> None:
    strategy = {"_target_": "FedAvgM", "server_learning_rate": 1e38, "server_momentum": 0.9}
    fed = federation("pi-1", num_rounds=9, clients_per_round=1, server={"strategy": strategy})
    with (
        np.errstate(all="ignore"),
        pytest.raises(RunFailed, match=r"FedAvgM made .* NaN or infinite"),
    ):
        fed.play()


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [(errno.ENOSPC, OSError, "No space left"), (errno.EIO, RunFailed, "cannot write to .* broken")],
    ids=["full", "broken"],
)
def test_what_cannot_be_written_leaves_what_was_committed(
    federation: Make, number: int, error: type[Exception], text: str
) -> None:
    """A broken disk fails the run; of a full one the attempt's caller waits for room."""
    fed = federation("pi-1", num_rounds=3, clients_per_round=1)
    whole = tensors_module.atomic_file

    def failing(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "model-00002.safetensors":
            raise OSError(number, "No space left on device" if number == errno.ENOSPC else "broken")
        return whole(path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors_module, "atomic_file", failing)
        with pytest.raises(error, match=text) as failed:
            fed.play()
    if isinstance(failed.value, RunFailed):
        assert failed.value.reason is FailureReason.ENGINE_ERROR
    assert len(fed.server.commits) == 1
    assert same(model(fed), plain_rounds(["pi-1"], 1)[0])
    fed.play()
    assert same(model(fed), plain_rounds(["pi-1"], 3)[-1])


def test_a_model_that_does_not_fit_the_app_is_refused(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1)
    fed.play()
    other = federation("pi-1", name="two", clients_per_round=1)
    other.server.initial = fed.server.initial
    other.server.store(fed.server.blob(fed.server.initial.model).read_bytes())
    other.project = lambda **changed: PaperFederation.project(other, size=7, **changed)  # type: ignore[method-assign]
    with pytest.raises(
        RunFailed, match=r"'w': float32\[7\] \(mean\) here, float32\[3\] \(mean\) there"
    ):
        other.play()


class _UnreadableData:
    """Validation data whose files cannot be read any more."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def __iter__(self) -> Any:
        raise self._error

    def __len__(self) -> int:
        return 1


def test_validation_data_that_cannot_be_read_is_the_apps_error(federation: Make) -> None:
    fed = federation("pi-1", num_rounds=1, clients_per_round=1)
    fed.validation = (_UnreadableData(OSError(errno.EIO, "Input/output error")), "lines")
    with pytest.raises(RunFailed, match=r"the server's validation data: .*Input/output") as failed:
        fed.play()
    assert failed.value.reason is FailureReason.APP_ERROR


def test_a_full_disk_while_evaluating_is_not_the_apps_error(federation: Make) -> None:
    fed = federation("pi-1", num_rounds=1, clients_per_round=1)
    fed.validation = (_UnreadableData(OSError(errno.ENOSPC, "No space left on device")), "lines")
    with pytest.raises(OSError, match="No space left"):
        fed.play()
