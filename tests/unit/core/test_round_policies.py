"""Seeds and numbers of a round."""

import pytest

from fedops.core.quorum import clients_needed, clients_wanted, quorum
from fedops.core.seeds import client_seed, draw_seed


def test_a_client_seed_depends_on_run_device_and_round_and_fits_63_bits() -> None:
    seeds = {client_seed(s, d, r) for s in (1, 2) for d in ("a", "b") for r in (1, 2)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert client_seed(42, "pi-1", 3) == client_seed(42, "pi-1", 3)


def test_the_client_seed_is_the_same_everywhere() -> None:
    # The first 8 bytes of sha256("42/pi-1/1"), without the sign bit.
    assert client_seed(42, "pi-1", 1) == 0x39353E2F2FA814EF


def test_clients_are_drawn_anew_in_each_round_and_retry() -> None:
    assert len({draw_seed(1, r, t) for r in (1, 2) for t in (0, 1)}) == 4


@pytest.mark.parametrize(
    ("wanted", "min_replies", "minimum", "needed"),
    [
        (5, None, 1, 3),
        (4, None, 1, 3),
        (3, None, 2, 2),
        (2, None, 1, 2),
        (1, None, 0, 1),
        (5, None, 4, 4),
        (1, None, 5, 1),
        (3, 2, 1, 2),
        (3, 1, 2, 1),
        (3, 9, 1, 3),
    ],
)
def test_quorum(wanted: int, min_replies: int | None, minimum: int, needed: int) -> None:
    assert quorum(wanted, min_replies, minimum) == needed


def test_clients_per_round_wins() -> None:
    assert clients_wanted(10, 4, 1.0, 2) == 4
    assert clients_wanted(10, None, 0.5, 2) == 5
    assert clients_wanted(10, None, 0.00001, 1) == 1
    assert clients_needed(4, 1, 1) == 4
    assert clients_needed(None, 2, 3) == 3
