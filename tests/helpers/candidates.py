"""Devices with histories, and rounds that are played over them: what the tests of selectors share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from fedops.algorithms.selection.selector import RoundAhead, Selector
from fedops.core.contracts import Candidate


def candidate(device: str, **history: Any) -> Candidate:
    return Candidate(device=device, node_id="1", **history)


def candidates(count: int, **history: Sequence[Any]) -> list[Candidate]:
    """``pi-000`` and so on; of each history, the i-th is that of the i-th device."""
    return [
        candidate(f"pi-{i:03}", **{name: values[i] for name, values in history.items()})
        for i in range(count)
    ]


def chosen(
    selector: Selector, pool: Sequence[Candidate], wanted: int, seed: int = 1, round_: int = 10
) -> list[str]:
    ahead = RoundAhead(round_, len(pool), wanted)
    found = selector.select(pool, wanted, np.random.default_rng(seed), ahead)
    return [device for device, _ in found.chosen]


def played(
    selector: Selector,
    pool: Sequence[Candidate],
    clients: int,
    rounds: int,
    seed: int = 1,
    never: Collection[str] = (),
    deadline: float = 60.0,
) -> list[list[str]]:
    """Who was chosen in each of some rounds, in which all that were asked reply but ``never``."""
    known = {one.device: one for one in pool}
    course = []
    for round_ in range(1, rounds + 1):
        ahead = RoundAhead(round_, len(known), clients)
        rng = np.random.default_rng([seed, round_])
        found = selector.select(list(known.values()), clients, rng, ahead)
        course.append([device for device, _ in found.chosen])
        known |= {
            device: _missed(known[device], round_, deadline)
            if device in never
            else _took_part(known[device], round_)
            for device in course[-1]
        }
    return course


def _missed(one: Candidate, round_: int, deadline: float) -> Candidate:
    now = {
        "rounds_invited": one.rounds_invited + 1,
        "last_invited": round_,
        "round_seconds": deadline,
    }
    return one.model_copy(update=now)


def _took_part(one: Candidate, round_: int) -> Candidate:
    now: Mapping[str, Any] = {
        "rounds_invited": one.rounds_invited + 1,
        "last_invited": round_,
        "rounds_taken": one.rounds_taken + 1,
        "last_round": round_,
        "round_seconds": one.bench_seconds,
        "last_loss": 2.0 / (one.rounds_taken + 1),
        "rounds_scored": one.rounds_scored + 1,
        "value": 1.0 if one.value is None else one.value,
    }
    return one.model_copy(update=now)
