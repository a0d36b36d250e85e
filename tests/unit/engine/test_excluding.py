"""Whom findings keep out of the rounds, and what is said of it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from candidates import candidate

from fedops.algorithms.selection.uniform import UniformSelector
from fedops.config.schema import Config, RoundPolicy
from fedops.core.contracts import Candidates, ClientStanding, IntegrityFinding
from fedops.engine.aggregation_port import SamplingNumbers
from fedops.engine.recruiting import Recruiter
from fedops.engine.round_size import RoundRules

TOO_FEW = "too few devices are left: nobody is excluded"
FOUND = IntegrityFinding(kind="replay", evidence="the last change again")


def standings(*found: str, of: str = "abcde") -> dict[str, ClientStanding]:
    return {
        name: ClientStanding(device=name, rounds=4, findings=[FOUND] if name in found else [])
        for name in of
    }


def recruiter(devices: list[str], clients: int) -> Recruiter:
    """Of a run with the policy ``exclude``, on a server that has these devices."""
    config = Config.model_validate({"server": {"contribution": {"policy": "exclude"}}})
    rules = RoundRules(
        clients, SamplingNumbers(1.0, 2, 2, 1.0, 2), RoundPolicy(min_replies=clients)
    )
    setup: Any = SimpleNamespace(rules=rules, config=config, spec=SimpleNamespace(refused={}))
    there = Candidates(command="continue", candidates=[candidate(name) for name in devices])
    link: Any = SimpleNamespace(ask=lambda call: there)
    return Recruiter(setup, link, UniformSelector())


def test_that_nobody_is_excluded_is_said_once_until_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "fedops.engine")
    made = recruiter(list("abcde"), clients=5)

    def looks() -> int:
        caplog.clear()
        for _ in range(5):
            assert set(made.available()) == set("abcde")
        return caplog.text.count(TOO_FEW)

    made.know(standings("a"))
    assert looks() == 1
    assert looks() == 0, "it is as before"
    made.know(standings("a", "b"))
    assert looks() == 1
    made.know(standings())
    assert looks() == 0
    made.know(standings("a", "b"))
    assert looks() == 1, "it is so again"


def test_who_is_found_out_is_excluded_where_enough_are_left() -> None:
    made = recruiter(list("abcde"), clients=3)
    made.know(standings("a"))
    assert set(made.available()) == set("bcde")
