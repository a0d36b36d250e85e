"""Strategies by current and former names, and what is said of names that are neither."""

import logging
from typing import Any

import pytest

from fedops.core.errors import Invalid
from fedops.engine.aggregation_port import SamplingNumbers
from fedops.flower.strategies.strategy_factory import make_strategy

SEED_ARGUMENTS = {
    "fraction_fit": 0.00001,
    "fraction_evaluate": 0.000001,
    "min_fit_clients": 1,
    "min_available_clients": 1,
    "min_evaluate_clients": 1,
}


def test_former_names_mean_the_current_ones() -> None:
    strategy = make_strategy("flwr.server.strategy.FedAvg", SEED_ARGUMENTS)
    assert strategy.name == "FedAvg"
    assert strategy.numbers == SamplingNumbers(0.00001, 1, 1, 0.000001, 1)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("flwr.serverapp.strategy.FedAdam", "FedAdam"),
        ("flwr.serverapp.strategy.fedadam.FedAdam", "FedAdam"),
        ("flwr.server.strategy.fedyogi.FedYogi", "FedYogi"),
        ("flwr.server.strategy.QFedAvg", "QFedAvg"),
        ("flwr.server.strategy.Krum", "Krum"),
        ("FedProx", "FedProx"),
    ],
)
def test_names(target: str, name: str) -> None:
    assert make_strategy(target, {}).name == name


def test_krum_that_kept_several_clients_is_multikrum_now() -> None:
    former = {"num_malicious_clients": 1, "num_clients_to_keep": 3}
    assert make_strategy("flwr.server.strategy.Krum", former).name == "MultiKrum"
    former["num_clients_to_keep"] = 0
    assert make_strategy("flwr.server.strategy.Krum", former).name == "Krum"


def test_arguments_without_effect_are_said_to_have_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedops"):
        make_strategy("flwr.server.strategy.FedAvg", {"accept_failures": False})
    assert "accept_failures has no effect" in caplog.text


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        (
            "flwr.server.strategy.FedAvgg",
            {},
            "no strategy 'FedAvgg'; did you mean 'FedAvg'.* it has 'Bulyan'",
        ),
        ("flwr.server.strategy.Zzz", {}, r"no strategy 'Zzz'; it has 'Bulyan', .*'QFedAvg'"),
        ("flwr.serverapp.strategy.FedXgbBagging", {}, "FedXgbBagging joins boosted trees"),
        (
            "FedAvg",
            {"fraction_trian": 1},
            "FedAvg takes no 'fraction_trian'; did you mean 'fraction_train'",
        ),
        ("FedAvg", {"proximal_mu": 1}, "takes no 'proximal_mu'; it takes 'fraction_train', "),
        ("FedAvg", {"weighted_by_key": "x"}, "takes no 'weighted_by_key'"),
        ("FedAvg", {"evaluate_fn": "x"}, "takes no 'evaluate_fn'"),
        ("flwr.serverapp.strategy.QFedAvg", {}, "QFedAvg needs 'client_learning_rate'"),
        (
            "FedTrimmedAvg",
            {"beta": 0.7},
            r"FedTrimmedAvg cannot be made: `beta` must be in the range",
        ),
        ("FedAvg", {"fraction_fit": 1.0, "fraction_train": 1.0}, "given twice"),
        ("collections.OrderedDict", {}, "is no subclass of flwr.serverapp.strategy.Strategy"),
        ("nowhere.Strategy", {}, "there is no module 'nowhere'"),
    ],
)
def test_mistakes_are_named(target: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        make_strategy(target, arguments)


def test_a_strategy_may_wrap_another() -> None:
    wrapper = make_strategy(
        "flwr.serverapp.strategy.DifferentialPrivacyServerSideFixedClipping",
        {
            "strategy": {"_target_": "flwr.server.strategy.FedAvg", "min_fit_clients": 3},
            "noise_multiplier": 1.0,
            "clipping_norm": 0.5,
            "num_sampled_clients": 3,
        },
    )
    assert wrapper.numbers.min_train == 3


@pytest.mark.parametrize(
    ("fraction", "minimum", "available", "chosen", "count"),
    [
        (0.0, 2, 10, 5, 0),
        (1e-6, 1, 10, 5, 1),
        (0.4, 1, 10, 5, 4),
        (1.0, 2, 10, 5, 5),
        (0.1, 2, 10, 1, 1),
    ],
)
def test_how_many_evaluate(
    fraction: float, minimum: int, available: int, chosen: int, count: int
) -> None:
    assert SamplingNumbers(1.0, 1, 1, fraction, minimum).evaluators(available, chosen) == count
