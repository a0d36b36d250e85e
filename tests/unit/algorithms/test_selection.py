"""Uniform selection: by seed, without order, with a reason for each."""

from collections import Counter

import numpy as np

from fedops.algorithms.selection import UniformSelector
from fedops.core.contracts import Candidate


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(device=name, node_id="1") for name in names]


def test_the_same_seed_draws_the_same_clients_whatever_the_order() -> None:
    names = [f"pi-{i}" for i in range(9)]
    first, second = (
        UniformSelector().select(candidates(*order), 4, np.random.default_rng(7))
        for order in (names, names[::-1])
    )
    assert first == second
    assert len(first) == 4
    assert set(first.values()) == {"drawn uniformly: 4 of 9 available clients"}


def test_all_are_taken_when_all_are_needed() -> None:
    chosen = UniformSelector().select(candidates("b", "a"), 3, np.random.default_rng(0))
    assert list(chosen.items()) == [(n, "all 2 available clients are needed") for n in ("a", "b")]


def test_every_client_is_drawn_as_often() -> None:
    rng = np.random.default_rng(3)
    pool = candidates(*"abcde")
    counts = Counter(n for _ in range(2000) for n in UniformSelector().select(pool, 2, rng))
    assert all(abs(count - 800) < 100 for count in counts.values())
