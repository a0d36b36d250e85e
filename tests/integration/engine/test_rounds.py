"""The round engine from the first message to the last commit, with clients that do what clients do."""

import pytest
from in_memory_federation import AttemptSuperseded, Refused, Work, examples, plain_rounds
from round_parts import THREE, Make, model, participation, same

from fedops.core.states import AssignmentStatus, ParticipationStatus
from fedops.storage.payloads import Payload

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
            AttemptSuperseded("killed")
        )
        broken.server.failing["commit"].clear()
        with pytest.raises(AttemptSuperseded):
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
