"""What a config from the network may name."""

from __future__ import annotations

import importlib

import pytest

from fedops.core.errors import Forbidden
from fedops.scalize.flow.step_resolution import Trust
from fedops.scalize.flow.target_import import NETWORK_ALLOWED, NETWORK_NAMES

SERVER = Trust(False, NETWORK_ALLOWED, NETWORK_NAMES)


@pytest.mark.parametrize("target", sorted(NETWORK_NAMES))
def test_every_name_of_ours_is_there(target: str) -> None:
    module, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    SERVER.check(target, "data")
    SERVER.check_found(target, found, "data")


@pytest.mark.parametrize(
    "target",
    [
        "fedops.algorithms.partition.partition.__globals__",
        "fedops.algorithms.partition",
        "fedops.scalize.flow.target_import.resolve",
        "fedops.explain.methods.base.Job",
        "fedops.flower.strategies.strategy_factory.make_strategy",
        "fedops.processes.spawn.spawn",
        "os.system",
    ],
)
def test_nothing_else_of_ours_may_be_named(target: str) -> None:
    with pytest.raises(Forbidden, match="may not be named by a config from the server"):
        SERVER.check(target, "data")
