"""The examples that estimators are fitted on: how many, how often, and a device's part of them."""

from __future__ import annotations

import weakref
from typing import Any


def rows(x: Any) -> int | None:
    """How many examples; None where that is not known."""
    shape = getattr(x, "shape", None)
    if shape:
        return int(shape[0])
    return len(x) if hasattr(x, "__len__") else None


def part_of(args: Any, kwargs: dict[str, Any], part: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
    """Every ``part[1]``-th example, from ``part[0]`` on, of X, y and the weights."""
    from sklearn.utils import _safe_indexing

    x = args[0] if args else kwargs.get("X")
    count = rows(x)
    chosen = list(range(part[0], count or 0, part[1]))

    def cut(value: Any) -> Any:
        return (
            _safe_indexing(value, chosen) if value is not None and rows(value) == count else value
        )

    named = {n: cut(v) if n in ("X", "y", "sample_weight") else v for n, v in kwargs.items()}
    return tuple(cut(value) for value in args[:2]) + tuple(args[2:]), named


class Passes:
    """How often training went through the data.

    A ``fit`` goes through all of it. Of ``partial_fit``, a pass is known where the first batch comes again:
    the same array, or the same place in one. Batches that are copied anew have none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.loaders: list[dict[str, Any]] = []
        self._first: tuple[Any, int] | None = None

    def begins(self, method: str, x: Any) -> bool:
        """Whether this call begins a pass, which is counted."""
        if method == "partial_fit":
            place = _place(x)
            if place is None:
                return False
            if self._first is None:
                self._first = place
            elif self._first[0]() is not place[0]() or self._first[1] != place[1]:
                return False
        self.count += 1
        return True

    def loader(self, x: Any, where: str, count: int | None) -> None:
        """Remember where examples came from, once for each place in the code."""
        for known in self.loaders:
            if known["where"] == where:
                known["passes"] = self.count
                return
        kind = type(x)
        self.loaders.append(
            {
                "kind": f"{kind.__module__}.{kind.__qualname__}",
                "where": where,
                "examples": count,
                "batch_size": count,
                "passes": self.count,
                "trains": True,
                "divisible": count is not None,
            }
        )


def _place(x: Any) -> tuple[Any, int] | None:
    """The object that holds the examples, weakly, and where in it they begin."""
    base = getattr(x, "base", None)
    owner = x if base is None else base
    try:
        held = weakref.ref(owner)
    except TypeError:
        return None
    told = getattr(x, "__array_interface__", None)
    return held, int(told["data"][0]) if told else 0
