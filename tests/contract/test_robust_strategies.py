"""Robust aggregation by name: what each rule gives here, and what is said where it does not defend."""

import logging
from typing import Any

import numpy as np
import pytest
from flower_identity import flower_identity as flower_identity

from fedops.core.errors import Invalid
from fedops.engine.aggregation_port import ClientUpdate
from fedops.flower.strategies.strategy_adapter import RunStrategy
from fedops.flower.strategies.strategy_factory import make_strategy
from fedops.storage.tensors import Tensors

BEFORE: Tensors = {"w": np.zeros(1, np.float32)}


def updates(*values: float, **more: Any) -> list[ClientUpdate]:
    return [
        ClientUpdate(i + 1, 1, {}, {"w": np.array([v], np.float32), **more})
        for i, v in enumerate(values)
    ]


def aggregated(strategy: RunStrategy, *values: float) -> float:
    strategy.configure(1, lambda: BEFORE, list(range(1, len(values) + 1)))
    return float(strategy.aggregate(1, BEFORE, updates(*values))["w"][0])


@pytest.mark.parametrize(
    ("name", "arguments", "values", "result"),
    [
        ("Krum", {"num_malicious_nodes": 1}, (1, 1.1, 0.9, 1.05, 10), 1.05),
        (
            "MultiKrum",
            {"num_malicious_nodes": 1, "num_nodes_to_select": 3},
            (1, 1.1, 0.9, 1.05, 10),
            1.05,
        ),
        ("Bulyan", {"num_malicious_nodes": 1}, (1, 1, 1, 1, 1, 1, 1000), 1),
        ("FedMedian", {}, (1, 2, 1000), 2),
        ("FedTrimmedAvg", {"beta": 0.2}, (1, 1, 1, 1, 1000), 1),
    ],
)
def test_robust_rules_by_name(
    name: str, arguments: dict[str, Any], values: tuple[float, ...], result: float
) -> None:
    assert aggregated(make_strategy(name, arguments), *values) == pytest.approx(result, abs=1e-6)


@pytest.mark.parametrize("name", ["Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg"])
def test_updates_are_whole_afterwards(name: str) -> None:
    """Flower takes arrays out of replies while it aggregates; contribution reads the same updates."""
    given = updates(1, 2, 3, 4, 5)
    strategy = make_strategy(name, {})
    strategy.aggregate(1, BEFORE, given)
    assert [float(one.tensors["w"][0]) for one in given] == [1, 2, 3, 4, 5]


# --- what is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Krum", "MultiKrum", "Bulyan"])
def test_nobody_expected_to_be_bad_is_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedops"):
        make_strategy(name, {})
    assert f"{name} with num_malicious_nodes = 0, its default, expects no bad client" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fedops"):
        make_strategy(name, {"num_malicious_nodes": 1})
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "arguments", "few", "enough", "said"),
    [
        (
            "Krum",
            {"num_malicious_nodes": 1},
            4,
            5,
            "1 bad clients from the others with 5 replies or more, and there are 4",
        ),
        (
            "MultiKrum",
            {"num_malicious_nodes": 2},
            6,
            7,
            "2 bad clients from the others with 7 replies or more, and there are 6",
        ),
        (
            "FedTrimmedAvg",
            {"beta": 0.2},
            4,
            5,
            "beta=0.2 trims nothing off 4 replies; it does from 5 on",
        ),
        ("FedMedian", {}, 2, 3, "FedMedian of 2 replies is their mean"),
    ],
)
def test_too_few_replies_are_said(
    name: str,
    arguments: dict[str, Any],
    few: int,
    enough: int,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    strategy = make_strategy(name, arguments)
    with caplog.at_level(logging.WARNING, "fedops"):
        aggregated(strategy, *[1.0] * enough)
        assert not caplog.records
        aggregated(strategy, *[1.0] * few)
    assert f"round 1: {name}" in caplog.text
    assert said in caplog.text


def test_a_mean_that_is_called_trimmed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedops"):
        make_strategy("FedTrimmedAvg", {"beta": 0.0})
    assert "beta = 0 trims nothing" in caplog.text


# --- FLTrust ---------------------------------------------------------------------------------------


def trusting(root: float = 1.0) -> RunStrategy:
    strategy = make_strategy("FLTrust", {})
    strategy.use_root_update(lambda round_, before: {n: a + root for n, a in before.items()})
    return strategy


def test_fltrust_by_name() -> None:
    strategy = trusting()
    assert (strategy.name, strategy.takes_mean(), strategy.needs_root_update) == (
        "FLTrust",
        False,
        True,
    )
    assert not make_strategy("FedAvg", {}).needs_root_update
    assert aggregated(strategy, 0.5, 3.0, -8.0) == pytest.approx(1.0)
    assert aggregated(strategy, -1.0, -2.0) == 0.0


def test_fltrust_is_shown_the_model_and_compares_changes() -> None:
    strategy, before = trusting(), {"w": np.array([10.0], np.float32)}
    strategy.configure(3, lambda: before, [1, 2])
    assert strategy.aggregate(3, before, updates(10.5, 4.0))["w"] == pytest.approx([11.0])


def test_fltrust_hears_the_round_and_is_continued_without_a_state() -> None:
    heard = []
    strategy = make_strategy("FLTrust", {})
    strategy.use_root_update(lambda round_, before: heard.append(round_) or {"w": np.ones(1, "f4")})
    strategy.configure(7, lambda: BEFORE, [1])
    strategy.aggregate(7, BEFORE, updates(1.0))
    assert heard == [7]
    assert strategy.export_state() == {}


def test_fltrust_within_differential_privacy_is_given_its_update_too() -> None:
    wrapper = make_strategy(
        "DifferentialPrivacyServerSideFixedClipping",
        {
            "strategy": {"_target_": "FLTrust"},
            "noise_multiplier": 0.0,
            "clipping_norm": 1e9,
            "num_sampled_clients": 3,
        },
    )
    assert wrapper.needs_root_update
    wrapper.use_root_update(lambda round_, before: {"w": np.ones(1, np.float32)})
    assert aggregated(wrapper, 0.5, 3.0, -8.0) == pytest.approx(1.0)


def test_fltrust_without_an_update_of_its_own_says_what_is_missing() -> None:
    strategy = make_strategy("FLTrust", {})
    with pytest.raises(
        Invalid, match="FLTrust failed in round 1: it needs an update of the server"
    ):
        aggregated(strategy, 1.0)


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("FLTrsut", {}, "did you mean 'FLTrust'"),
        ("Zzz", {}, "and FedOps adds 'FLTrust'"),
        ("FLTrust", {"root_update": "x"}, "FLTrust takes no 'root_update'"),
        ("FLTrust", {"fraction_trian": 1}, "did you mean 'fraction_train'"),
    ],
)
def test_mistakes(target: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        make_strategy(target, arguments)
