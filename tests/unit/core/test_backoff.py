"""Pauses between tries."""

from __future__ import annotations

from itertools import islice

import pytest

from fedops.core.backoff import pause_after, pauses


def test_each_pause_is_twice_the_last_up_to_a_cap() -> None:
    assert list(islice(pauses(0.5, 5.0), 6)) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize("failures", [1, 10, 1_000, 100_000])
def test_any_number_of_failures_has_a_pause(failures: int) -> None:
    assert pause_after(failures, 0.5, 30.0) == min(0.5 * 2 ** min(failures - 1, 60), 30.0)
