"""Splits one data set among clients, for experiments on data that is unequally spread.

Every example goes to exactly one client, every client gets at least one (as long as there are enough),
and the same seed gives the same parts on every machine.

iid        equal sizes at random
dirichlet  of each class, client k gets a share drawn from Dir(alpha) (Hsu et al. 2019)
shards     examples sorted by label, cut in shards, each client gets some of them (McMahan et al. 2017)
quantity   client sizes drawn from Dir(alpha), labels at random (Li et al. 2022)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean

Indices = npt.NDArray[np.int64]
SCHEMES = ("iid", "dirichlet", "shards", "quantity")
_TRIES = 100
#: A draw is repeated while a client has fewer examples than this (or half its fair share).
_ENOUGH = 10


def partition(
    scheme: str,
    labels: npt.NDArray[Any],
    parts: int,
    seed: int,
    *,
    alpha: float = 0.5,
    shards_per_client: int = 2,
) -> list[Indices]:
    """The indices of every client, ascending. ``labels`` has one entry per example.

    Raises:
        Invalid: no such scheme, or fewer examples than clients (or shards).
    """
    rng = np.random.default_rng(seed)
    total = len(labels)
    pieces = parts * shards_per_client if scheme == "shards" else parts
    if total < pieces:
        raise Invalid(f"{total} examples cannot be split into {pieces} parts")
    if scheme == "iid":
        found = iid(total, parts, rng)
    elif scheme == "dirichlet":
        found = dirichlet(labels, parts, alpha, rng)
    elif scheme == "shards":
        found = shards(labels, parts, shards_per_client, rng)
    elif scheme == "quantity":
        found = quantity(total, parts, alpha, rng)
    else:
        guess = did_you_mean(scheme, SCHEMES)
        raise Invalid(
            f"no partition scheme '{scheme}'{guess or ';'} there are {comma_list(SCHEMES)}"
        )
    return [np.sort(part).astype(np.int64) for part in found]


def iid(total: int, parts: int, rng: np.random.Generator) -> list[Indices]:
    """Sizes differ by one at most."""
    return list(np.array_split(rng.permutation(total), parts))


def dirichlet(
    labels: npt.NDArray[Any], parts: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    """The smaller ``alpha``, the fewer classes a client sees."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    enough = min(_ENOUGH, max(1, len(labels) // (2 * parts)))
    for _ in range(_TRIES):
        found = _draw_by_class(classes, parts, alpha, rng)
        if min(map(len, found)) >= enough:
            return found
    return _filled(found)


def _draw_by_class(
    classes: list[Indices], parts: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    dealt: list[list[Indices]] = [[] for _ in range(parts)]
    for members in classes:
        shuffled = rng.permutation(members)
        for part, share in zip(dealt, _by_shares(shuffled, parts, alpha, rng), strict=True):
            part.append(share)
    return [np.concatenate(part) for part in dealt]


def _by_shares(items: Indices, parts: int, alpha: float, rng: np.random.Generator) -> list[Indices]:
    bounds = np.cumsum(rng.dirichlet(np.full(parts, alpha)))[:-1]
    return list(np.split(items, (bounds * len(items)).astype(np.int64)))


def shards(
    labels: npt.NDArray[Any], parts: int, per_client: int, rng: np.random.Generator
) -> list[Indices]:
    """With two shards each, most clients see two classes only."""
    order = np.argsort(labels, kind="stable")
    pieces = np.array_split(order, parts * per_client)
    dealt = rng.permutation(len(pieces)).reshape(parts, per_client)
    return [np.concatenate([pieces[number] for number in row]) for row in dealt]


def quantity(total: int, parts: int, alpha: float, rng: np.random.Generator) -> list[Indices]:
    """The smaller ``alpha``, the more unequal the sizes."""
    return _filled(_by_shares(rng.permutation(total), parts, alpha, rng))


def _filled(found: list[Indices]) -> list[Indices]:
    """Clients without an example get one of the largest client's."""
    for index in range(len(found)):
        if not len(found[index]):
            largest = max(range(len(found)), key=lambda k: len(found[k]))
            found[index], found[largest] = found[largest][-1:], found[largest][:-1]
    return found
