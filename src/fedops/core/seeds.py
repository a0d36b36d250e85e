"""Seeds drawn from a run's seed: the same for the same client, round and try."""

from __future__ import annotations

import hashlib


def client_seed(run_seed: int, device: str, round_: int) -> int:
    """The seed of everything random that a device does in a round: 63 bits, never negative.

    It depends on the device's name and on nothing else of the device, so that a repeated round, or the
    same run elsewhere, gives the same update.
    """
    return _seed(f"{run_seed}/{device}/{round_}")


def draw_seed(run_seed: int, round_: int, retry: int = 0) -> int:
    """The seed with which the clients of a round are drawn."""
    return _seed(f"{run_seed}/{round_}/draw/{retry}")


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) & (2**63 - 1)


def study_seeds(first: int, count: int) -> list[int]:
    """The seeds of the runs of a study: counted up from its config's, so that everybody can say them."""
    return [(first + number) % 2**63 for number in range(count)]
