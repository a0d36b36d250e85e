"""Every strategy of Flower that aggregates tensors runs rounds here, and its state survives a restart."""

import gc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from flower_identity import flower_identity as flower_identity
from flwr.app import ArrayRecord
from flwr.serverapp import strategy as flower

from fedops.algorithms.aggregation import weighted_mean
from fedops.core.errors import Invalid
from fedops.engine.aggregation_port import ClientUpdate
from fedops.flower.strategies.strategy_adapter import RunStrategy
from fedops.flower.strategies.strategy_factory import NAMES, make_strategy
from fedops.storage.tensors import Tensors


@pytest.fixture(autouse=True, scope="module")
def quick_garbage() -> None:
    """Some strategies collect garbage in every round: as in an FL server, what is here is not looked at."""
    gc.collect()
    gc.freeze()


NODES = [11, 12, 13, 14, 15, 16, 17]
INNER = {"_target_": "flwr.serverapp.strategy.FedAvg"}
FIXED: dict[str, Any] = {
    "strategy": INNER,
    "noise_multiplier": 0.0,
    "clipping_norm": 1e9,
    "num_sampled_clients": 7,
}
ADAPTIVE: dict[str, Any] = {
    "strategy": INNER,
    "noise_multiplier": 0.0,
    "initial_clipping_norm": 1e9,
    "num_sampled_clients": 7,
}
#: What a strategy cannot be made without.
NEEDED: dict[str, dict[str, Any]] = {
    "QFedAvg": {"client_learning_rate": 0.1},
    "FedAvgM": {"server_momentum": 0.9, "server_learning_rate": 0.5},
    "Bulyan": {"num_malicious_nodes": 1},
    "DifferentialPrivacyClientSideFixedClipping": FIXED,
    "DifferentialPrivacyServerSideFixedClipping": FIXED,
    "DifferentialPrivacyClientSideAdaptiveClipping": ADAPTIVE,
    "DifferentialPrivacyServerSideAdaptiveClipping": ADAPTIVE,
}


def made(name: str, **more: Any) -> RunStrategy:
    return make_strategy(f"flwr.serverapp.strategy.{name}", {**NEEDED.get(name, {}), **more})


def model(seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    return {
        "w": rng.normal(size=(4, 3)).astype(np.float32),
        "b": rng.normal(size=()).astype(np.float32),
    }


def clients(before: Tensors, seed: int, count: int = 7) -> list[ClientUpdate]:
    rng = np.random.default_rng(seed)
    metrics = {"train_loss": 0.5, "norm_bit": 1.0}
    return [
        ClientUpdate(
            NODES[i],
            10 * (i + 1),
            metrics if i else {**metrics, "only_here": 1.0},
            {
                k: a + np.float32(0.1) * rng.normal(size=a.shape).astype(np.float32)
                for k, a in before.items()
            },
        )
        for i in range(count)
    ]


def one_round(strategy: RunStrategy, round_: int, before: Tensors) -> Tensors:
    told = strategy.configure(round_, lambda: before, NODES)
    assert sorted(told) == NODES
    contributions = clients(before, round_)
    if strategy.kind.given == "mean":
        examples = [c.examples for c in contributions]
        mean = weighted_mean([c.tensors for c in contributions], examples, before)
        contributions = [ClientUpdate(NODES[0], sum(examples), {"train_loss": 0.5}, mean)]
    after = strategy.aggregate(round_, before, contributions)
    assert {k: a.shape for k, a in after.items()} == {k: a.shape for k, a in before.items()}
    return {k: np.asarray(a, dtype=before[k].dtype) for k, a in after.items()}


def same(one: Tensors, other: Tensors) -> bool:
    return {k: a.tobytes() for k, a in one.items()} == {k: a.tobytes() for k, a in other.items()}


def test_no_strategy_of_flower_is_forgotten() -> None:
    refused = {"Result", "Strategy", "FedXgbBagging", "FedXgbCyclic"}
    assert set(NAMES) == set(flower.__all__) - refused


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_is_continued_goes_on_bit_for_bit(name: str) -> None:
    straight, now = made(name), model(0)
    for round_ in (1, 2, 3):
        now = one_round(straight, round_, now)

    then: Tensors = model(0)
    state: Tensors = {}
    for round_ in (1, 2, 3):
        fresh = made(name)
        fresh.import_state(state)
        then = one_round(fresh, round_, then)
        state = fresh.export_state()

    assert same(now, then)
    assert not same(now, model(0))


@pytest.mark.parametrize("name", ["FedAvgM", "FedAdam", "FedYogi", "FedAdagrad"])
def test_momenta_matter_and_are_exported(name: str) -> None:
    strategy = made(name)
    second = one_round(strategy, 2, one_round(strategy, 1, model(0)))
    assert strategy.export_state()
    assert not same(second, one_round(made(name), 2, one_round(made(name), 1, model(0))))


def test_state_of_a_wrapped_strategy_is_exported_too() -> None:
    inner = {"_target_": "flwr.serverapp.strategy.FedAdam"}
    strategy = made("DifferentialPrivacyServerSideAdaptiveClipping", strategy=inner)
    one_round(strategy, 1, model(0))
    assert {"0/clipping_norm", "1/m_t:w", "1/v_t:b"} <= set(strategy.export_state())


def test_which_strategies_are_plain_means() -> None:
    assert [name for name in NAMES if made(name).is_plain_mean()] == ["FedAvg", "FedProx"]


def test_fedprox_tells_its_clients_mu() -> None:
    told = made("FedProx", proximal_mu=0.25).configure(1, dict, NODES)
    assert {config["proximal-mu"] for config in told.values()} == {0.25}


def test_robust_rules_leave_an_outlier_out() -> None:
    before = {"w": np.zeros(2, np.float32)}
    values = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1e6]
    contributions = [
        ClientUpdate(n, 1, {}, {"w": np.full(2, v, np.float32)})
        for n, v in zip(NODES, values, strict=True)
    ]
    rules = {"FedMedian": {}, "FedTrimmedAvg": {"beta": 0.2}}
    rules |= {name: {"num_malicious_nodes": 1} for name in ("Krum", "MultiKrum", "Bulyan")}
    for name, arguments in rules.items():
        after = made(name, **arguments).aggregate(1, before, contributions)["w"]
        assert np.all(np.abs(after - 1.0) < 0.02), name


def test_krum_tells_near_clients_apart_far_from_the_origin() -> None:
    """In single precision all four distances would come out as nothing."""
    before = {"w": np.full(10_000, 100.0, np.float32)}
    near = [0.001, 0.002, 0.0015, 0.05]
    contributions = [
        ClientUpdate(n, 1, {}, {"w": before["w"] + np.float32(d)})
        for n, d in zip(NODES, near, strict=False)
    ]
    after = made("Krum").aggregate(1, before, contributions)["w"]
    assert after[0] == pytest.approx(100.0 + 0.0015, abs=5e-6)


def test_robust_rules_give_back_what_all_agree_on() -> None:
    before, agreed = model(1), model(2)
    for name in ("FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan"):
        after = made(name).aggregate(1, before, [ClientUpdate(n, 3, {}, agreed) for n in NODES])
        cast = {k: np.asarray(a, np.float32) for k, a in after.items()}
        assert same(cast, agreed), name


def test_half_precision_is_computed_in_single_precision() -> None:
    before = {"w": np.ones(2, ml_dtypes.bfloat16)}
    contributions = [
        ClientUpdate(n, 1, {}, {"w": np.full(2, v, ml_dtypes.bfloat16)})
        for n, v in ((11, 1.0), (12, 2.0))
    ]
    assert made("FedMedian").aggregate(1, before, contributions)["w"].tolist() == [1.5, 1.5]


def test_bulyan_says_that_it_has_too_few_replies() -> None:
    before = model(0)
    with pytest.raises(Invalid, match="Bulyan makes a model of 7 replies or more"):
        made("Bulyan").aggregate(1, before, clients(before, 1, 3))


def test_a_strategy_that_fails_is_named() -> None:
    before = model(0)
    strategy = made("QFedAvg")
    strategy.configure(1, lambda: before, NODES)
    with pytest.raises(Invalid, match=r"QFedAvg failed in round 1: AggregationError: .*train_loss"):
        strategy.aggregate(1, before, [ClientUpdate(11, 1, {}, before)])


class Patient(flower.FedAvg):
    """Waits for more nodes than it is shown."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: Any, grid: Any
    ) -> Any:
        while len(list(grid.get_node_ids())) < 99:
            pass


class Remembering(flower.FedAvg):
    """Does things its own way, and says what it must remember."""

    fedops_state = ("seen",)
    seen = 0

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        self.seen += len(list(replies))
        return None, None


def test_a_strategy_that_waits_for_others_is_stopped() -> None:
    with pytest.raises(
        Invalid, match="Patient failed in round 1: it waits for more nodes than the 7"
    ):
        RunStrategy(Patient()).configure(1, dict, NODES)


def test_a_strategy_of_ones_own() -> None:
    strategy = RunStrategy(Remembering())
    assert (strategy.kind.given, strategy.is_plain_mean()) == ("replies", False)
    with pytest.raises(Invalid, match="gave no model from 7 replies"):
        strategy.aggregate(1, model(0), clients(model(0), 1))
    other = RunStrategy(Remembering())
    other.import_state(strategy.export_state())
    assert other.export_state()["0/seen"] == 7
