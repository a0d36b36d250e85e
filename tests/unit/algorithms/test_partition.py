"""Partitions: every example once, nobody empty, repeatable, and as unequal as asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedops.algorithms.partition import SCHEMES, partition
from fedops.core.errors import Invalid

LABELS = np.random.default_rng(0).integers(0, 10, 2_000)


@given(
    scheme=st.sampled_from(SCHEMES),
    total=st.integers(1, 300),
    classes=st.integers(1, 12),
    parts=st.integers(1, 20),
    alpha=st.floats(0.01, 100),
    shards=st.integers(1, 4),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_example_goes_to_exactly_one_client(
    scheme: str, total: int, classes: int, parts: int, alpha: float, shards: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, total)
    if total < parts * (shards if scheme == "shards" else 1):
        with pytest.raises(Invalid):
            partition(scheme, labels, parts, seed, alpha=alpha, shards_per_client=shards)
        return
    found = partition(scheme, labels, parts, seed, alpha=alpha, shards_per_client=shards)
    assert len(found) == parts
    assert all(len(part) for part in found)
    assert sorted(np.concatenate(found).tolist()) == list(range(total))
    assert all((np.diff(part) > 0).all() for part in found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_seed_decides(scheme: str) -> None:
    first, again, other = (partition(scheme, LABELS, 5, seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any(a.tolist() != b.tolist() for a, b in zip(first, other, strict=True))


def test_iid_sizes_differ_by_one_at_most() -> None:
    assert {len(part) for part in partition("iid", LABELS, 7, 1)} == {285, 286}


def test_shards_leave_a_client_few_classes() -> None:
    found = partition("shards", np.sort(LABELS), 10, 1)
    assert all(len(np.unique(np.sort(LABELS)[part])) <= 4 for part in found)


def test_a_smaller_alpha_is_more_unequal() -> None:
    def spread(scheme: str, alpha: float) -> float:
        counts = [
            np.bincount(LABELS[part], minlength=10)
            for part in partition(scheme, LABELS, 5, 3, alpha=alpha)
        ]
        return float(np.std(counts))

    for scheme in ("dirichlet", "quantity"):
        assert spread(scheme, 0.1) > 3 * spread(scheme, 100.0)


def test_dirichlet_gives_everyone_a_few_examples() -> None:
    assert min(map(len, partition("dirichlet", LABELS, 5, 1, alpha=0.1))) >= 10


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(Invalid, match=r"did you mean 'dirichlet'\?"):
        partition("dirichlett", LABELS, 2, 1)
