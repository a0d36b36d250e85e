"""Devices with validation data only: they are not asked to train, and what they evaluate counts."""

from collections.abc import Callable
from typing import Any

import pytest
from in_memory_federation import AttemptSuperseded, InMemoryFederation, Work, plain_rounds
from round_parts import AT_LEAST_ONE, THREE, Make, model, participation, rounds_of, same

from fedops.core.states import ParticipationStatus
from fedops.engine.link.exit_reasons import RunFailed

REPLIED = ParticipationStatus.REPLIED
REASON = "evaluates only: it has no training example"


def work_of(federation: InMemoryFederation, device: str) -> list[tuple[str, int | None, int]]:
    return [(one.kind, one.round, one.retry) for one in federation.server.of_device(device)]


@pytest.fixture
def with_one(federation: Make) -> Callable[..., InMemoryFederation]:
    """Three that train, and one that cannot."""

    def make(**config: Any) -> InMemoryFederation:
        made = federation(*THREE, **config)
        made.add("judge", data=None)
        return made

    return make


def test_it_is_asked_to_train_once_and_evaluates_from_then_on(with_one: Make) -> None:
    federation = with_one(num_rounds=3)
    federation.play()
    assert work_of(federation, "judge") == [
        ("train", 1, 0),
        ("evaluate", 2, 0),
        ("evaluate", 3, 0),
        ("evaluate", None, 0),
    ]
    assert [number for number, _ in federation.server.begun] == [1, 2, 3]  # each at the first try
    assert same(model(federation), plain_rounds(THREE, 3)[-1])
    for commit in federation.server.commits:
        part = participation(commit, "judge")
        assert (part.status, part.reason, part.examples) == (REPLIED, REASON, 0)
        losses = [participation(commit, name).metrics["eval_loss"] for name in [*THREE, "judge"]]
        assert commit.client_metrics["loss"] == pytest.approx(sum(losses) / 4)
        assert commit.refused == {}


def test_who_says_so_before_is_never_asked_to_train(with_one: Make) -> None:
    federation = with_one(num_rounds=2)
    federation.server.evaluates_only["judge"] = True
    federation.play()
    assert {kind for kind, _, _ in work_of(federation, "judge")} == {"evaluate"}
    assert federation.server.begun[0][1]["judge"] == REASON
    assert same(model(federation), plain_rounds(THREE, 2)[-1])


def test_who_says_that_it_trains_by_now_is_asked_to(with_one: Make) -> None:
    federation = with_one(num_rounds=2)

    def changed(_: Any) -> None:
        federation.add("judge")
        federation.server.evaluates_only["judge"] = False

    federation.server.on_commit = changed
    federation.play()
    assert work_of(federation, "judge")[:2] == [("train", 1, 0), ("train", 2, 0)]
    assert participation(federation.server.commits[1], "judge").examples == 8


def test_they_are_not_counted_among_those_that_a_round_wants(federation: Make) -> None:
    two = federation("pi-1", "pi-2", num_rounds=2)
    two.add("judge-1", "judge-2", "judge-3", data=None)
    two.play()
    assert [number for number, _ in two.server.begun] == [1, 2]
    assert [len(commit.participations) for commit in two.server.commits] == [5, 5]


def test_a_run_that_evaluates_on_no_client_asks_them_nothing(with_one: Make) -> None:
    strategy = {"_target_": "FedAvg", "min_fit_clients": 2, "fraction_evaluate": 0.0}
    federation = with_one(num_rounds=3, server={"strategy": strategy})
    federation.play()
    assert work_of(federation, "judge") == [("train", 1, 0)]
    assert participation(federation.server.commits[0], "judge").metrics == {}


def test_of_those_that_evaluate_they_are_the_first(with_one: Make) -> None:
    strategy = {"_target_": "FedAvg", "fraction_evaluate": 0.25, "min_evaluate_clients": 1}
    federation = with_one(num_rounds=3, server={"strategy": strategy})
    federation.server.evaluates_only["judge"] = True
    federation.play()
    for commit in federation.server.commits:
        evaluated = [p.device for p in commit.participations if "eval_loss" in p.metrics]
        assert evaluated == ["judge"]


def test_too_few_that_train_is_said_with_the_names(federation: Make) -> None:
    alone = federation("pi-1")
    alone.add("judge", data=None)
    with pytest.raises(
        RunFailed, match=f"1 of 2 devices take part, a round needs 2: judge: {REASON}"
    ):
        alone.play()


def test_one_that_trains_is_enough_where_one_is_wanted(federation: Make) -> None:
    alone = federation("pi-1", server=AT_LEAST_ONE)
    alone.add("judge", data=None)
    alone.play()
    assert [number for number, _ in alone.server.begun] == [1, 2]


def test_one_that_fails_to_evaluate_costs_the_round_nothing(with_one: Make) -> None:
    federation = with_one(num_rounds=2, server=rounds_of(max_retries=0))
    federation.server.evaluates_only["judge"] = True

    def broken(work: Work) -> None:
        raise RuntimeError("no room")

    federation.server.add("judge", broken)
    federation.play()
    assert same(model(federation), plain_rounds(THREE, 2)[-1])
    parts = [participation(commit, "judge") for commit in federation.server.commits]
    assert [part.status for part in parts] == [ParticipationStatus.DROPPED] * 2


@pytest.mark.parametrize("said", [True, None])
def test_another_attempt_goes_on_with_what_they_evaluated(
    with_one: Make, said: bool | None
) -> None:
    federation = with_one(num_rounds=2)
    if said is not None:
        federation.server.evaluates_only["judge"] = said
    federation.server.failing["commit"] = [AttemptSuperseded("killed")]
    with pytest.raises(AttemptSuperseded):
        federation.play()
    asked = work_of(federation, "judge")
    federation.play()
    assert asked == [("train" if said is None else "evaluate", 1, 0)]
    assert work_of(federation, "judge")[:1] == asked
    assert work_of(federation, "judge")[1] == ("evaluate", 2, 0)
    assert same(model(federation), plain_rounds(THREE, 2)[-1])
    assert [participation(c, "judge").status for c in federation.server.commits] == [REPLIED] * 2
