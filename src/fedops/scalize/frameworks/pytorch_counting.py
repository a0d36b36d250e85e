"""How many examples a train step uses that loads its own data: counted at its loaders while it runs."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import dataloader

#: Batches that were fetched and not trained on yet; of more the oldest are forgotten.
_AHEAD = 64


@dataclass
class Counted:
    """Batches that a backward pass followed, each once."""

    examples: int = 0
    passes: set[int] = field(default_factory=set)
    begun: int = 0
    fetched: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_AHEAD))

    @property
    def in_a_pass(self) -> int:
        """Examples of one pass over the data; 0 when nothing was counted."""
        return round(self.examples / len(self.passes)) if self.passes else 0

    def fetch(self, batch: Any, first: bool) -> None:
        self.begun += first
        if torch.is_grad_enabled():
            self.fetched.append((_size(batch), self.begun))

    def trained(self) -> None:
        if self.fetched:
            size, number = self.fetched.popleft()
            self.examples += size
            self.passes.add(number)


@contextlib.contextmanager
def counted_examples() -> Iterator[Counted]:
    """Count what is fetched from torch's loaders and trained on, in this process, for a while."""
    counted = Counted()
    kind: Any = dataloader._BaseDataLoaderIter
    fetch: Any = kind.__next__
    tensor: Any = torch.Tensor
    backward: Any = tensor.backward

    @functools.wraps(fetch)
    def counting(self: Any) -> Any:
        batch = fetch(self)
        counted.fetch(batch, first=self._num_yielded == 1)
        return batch

    @functools.wraps(backward)
    def after(self: Any, *args: Any, **kwargs: Any) -> Any:
        counted.trained()
        return backward(self, *args, **kwargs)

    kind.__next__, tensor.backward = counting, after
    try:
        yield counted
    finally:
        kind.__next__, tensor.backward = fetch, backward


def _size(batch: Any) -> int:
    """The length of the first tensor in a batch; 1 where there is none."""
    if isinstance(batch, torch.Tensor):
        return int(batch.shape[0]) if batch.ndim else 1
    items = list(batch.values()) if isinstance(batch, Mapping) else batch
    return _size(items[0]) if isinstance(items, list | tuple) and items else 1
