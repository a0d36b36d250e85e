"""A strategy and the rest of its config."""

from __future__ import annotations

from typing import Any

import pytest

from fedops.config.loading import parse_config
from fedops.core.errors import Invalid
from fedops.flower.strategies.strategy_check import require_suitable
from fedops.flower.strategies.strategy_factory import make_strategy


def check(name: str, clients: int | None = None, policy: str = "report", **given: Any) -> None:
    server = {"contribution": {"method": "auto", "policy": policy}}
    config = parse_config({"server": server, "clients_per_round": clients or 2}, "the test")
    require_suitable(make_strategy(name, given), config)


@pytest.mark.parametrize("name", ["FedMedian", "FedTrimmedAvg", "Krum", "Bulyan", "FLTrust"])
def test_who_has_no_weights_cannot_lower_them(name: str) -> None:
    check(name, 8)
    check(name, 8, "exclude")
    with pytest.raises(
        Invalid, match=rf"would change nothing: the strategy {name} gives no update"
    ):
        check(name, 8, "downweight")


@pytest.mark.parametrize("name", ["FedAvg", "FedAdam", "MultiKrum"])
def test_others_can(name: str) -> None:
    assert make_strategy(name, {}).weighs
    check(name, 8, "downweight")


def test_bulyan_of_too_few_makes_no_model() -> None:
    check("Bulyan", 7, num_malicious_nodes=1)
    with pytest.raises(Invalid, match=r"Bulyan makes a model of 7 replies or more .* there are 6"):
        check("Bulyan", 6, num_malicious_nodes=1)


def test_fewer_than_no_bad_clients_are_none() -> None:
    with pytest.raises(Invalid, match="num_malicious_nodes = -1: 0 or more"):
        make_strategy("Krum", {"num_malicious_nodes": -1})
