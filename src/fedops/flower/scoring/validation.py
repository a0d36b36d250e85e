"""What a model achieves on the server's validation data: a number to be raised, and one for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import FedOpsError, Invalid
from fedops.scalize.adapter.protocol import GivesGradients, ModelAdapter, TrainContext
from fedops.scalize.flow.datasets import count, is_array, is_pair, take
from fedops.storage.tensors import Tensors

#: With more classes than these nobody reads a value for each, and evaluating one by one takes too long.
MOST_CLASSES = 20
#: To learn their labels, so many examples are loaded at most.
_LOOKED_AT = 5_000
#: A model is never worse than this many times what the round began with: a ruined one ruins no estimate.
WORST = 10.0
#: How far the mean over the classes may be from the mean over all, if the loss is a mean of examples.
SAME = 0.02


@dataclass(frozen=True)
class Part:
    """Some examples, and their share of all that are evaluated on."""

    data: Any
    share: float


class Validation:
    """The validation data of a server, with the adapter whose model is evaluated on it."""

    def __init__(self, adapter: ModelAdapter, data: Any, context: TrainContext) -> None:
        self._adapter = adapter
        self._data = data
        self._context = context
        self.examples = count(data, "the validation step")
        self._labels = labels_of(data)
        self._by_class: bool | None = None if self._labels is not None else False

    def on(self, examples: int, seed: int) -> Measure:
        """What measures models on so many of the examples, drawn by the seed."""
        size = min(examples, self.examples)
        rng = np.random.default_rng(seed)
        drawn = np.sort(rng.choice(self.examples, size, replace=False)).astype(np.int64)
        whole = self._whole(drawn)
        if self._by_class is None:
            self._by_class = self._classes_make_up(whole, drawn)
        parts = self._parts(drawn) if self._by_class else [whole]
        return Measure(self._adapter, replace(self._context, seed=seed), parts, whole.data)

    def _whole(self, drawn: npt.NDArray[np.int64]) -> Part:
        """The examples that were drawn; all, where the data cannot be cut."""
        if len(drawn) == self.examples:
            return Part(self._data, 1.0)
        try:
            part = Part(take(self._data, drawn), 1.0)
            Measure(self._adapter, self._context, [part])(self._adapter.get_tensors())
        except FedOpsError:  # a loader with a sampler of its own, or that drops what fills no batch
            return Part(self._data, 1.0)
        return part

    def _parts(self, drawn: npt.NDArray[np.int64]) -> list[Part]:
        """One for each class of all examples, whether or not there is one of it among these."""
        assert self._labels is not None
        labels = self._labels[drawn]
        found = []
        for one in np.unique(self._labels):
            mine = drawn[labels == one]
            data = take(self._data, mine) if len(mine) else None
            found.append(Part(data, len(mine) / len(drawn)))
        return found

    def _classes_make_up(self, whole: Part, drawn: npt.NDArray[np.int64]) -> bool:
        """Whether what is measured on the classes is, together, what is measured on all."""
        model = self._adapter.get_tensors()
        try:
            apart = Measure(self._adapter, self._context, self._parts(drawn))(model)[0]
        except FedOpsError:
            return False
        together = Measure(self._adapter, self._context, [whole])(model)[0]
        return abs(apart - together) <= SAME * max(abs(together), 1e-6)  # not, if one is no number


class Measure:
    """Measures models on parts of the validation data: the total, then each part if there are several."""

    def __init__(
        self,
        adapter: ModelAdapter,
        context: TrainContext,
        parts: Sequence[Part],
        whole: Any = None,
    ) -> None:
        """``whole``: the examples of all parts together."""
        self._adapter = adapter
        self._context = context
        self._parts = parts
        self.whole = whole
        self._worst = -math.inf

    def __call__(self, model: Tensors) -> list[float]:
        """``Invalid`` when the app's evaluation gives neither a loss nor an accuracy."""
        self._adapter.set_tensors(model)
        found = [0.0 if part.data is None else self._utility(part.data) for part in self._parts]
        if not math.isfinite(self._worst):  # the first one is the model that the round began with
            total = self._total(found)
            total = total if math.isfinite(total) else 0.0
            self._worst = total - WORST * (abs(total) + 1.0)
        bounded = [
            max(value, self._worst) if math.isfinite(value) else self._worst for value in found
        ]
        return [self._total(bounded), *(bounded if len(bounded) > 1 else [])]

    def gradients(self, model: Tensors) -> list[Tensors]:
        """Of what is lost, in all and of each part; empty when that is not known."""
        if not isinstance(self._adapter, GivesGradients):
            return []
        self._adapter.set_tensors(model)
        found: list[Tensors | None] = []
        for part in self._parts:
            if part.data is None:
                found.append({})
                continue
            gradient = self._adapter.gradient(part.data, self._context)
            if gradient is None:
                return []
            found.append(gradient)
        known = [one or {} for one in found]
        names = set().union(*known)
        shares = [part.share for part in self._parts]
        total = {
            name: np.sum(
                [share * one[name] for share, one in zip(shares, known, strict=True) if one], axis=0
            )
            for name in names
        }
        return [total, *(self._filled(known, total) if len(known) > 1 else [])]

    def _filled(self, known: Sequence[Tensors], total: Tensors) -> list[Tensors]:
        """A class without an example has no direction."""
        nothing = {name: np.zeros_like(array) for name, array in total.items()}
        return [one or nothing for one in known]

    def _total(self, values: Sequence[float]) -> float:
        return sum(part.share * value for part, value in zip(self._parts, values, strict=True))

    def _utility(self, data: Any) -> float:
        metrics = self._adapter.evaluate(data, self._context).metrics
        if "loss" in metrics:
            return -float(metrics["loss"])
        if "accuracy" in metrics:
            return float(metrics["accuracy"])
        raise Invalid(
            "the app's evaluation gives neither 'loss' nor 'accuracy', so no model can be valued"
        )


def labels_of(data: Any) -> npt.NDArray[np.int64] | None:
    """The class of each example; None when there are none, or more than are looked at one by one."""
    found = _column(data)
    if found is None or found.ndim != 1 or found.dtype.kind not in "iu":
        return None
    classes = len(np.unique(found))
    return found.astype(np.int64) if 2 <= classes <= MOST_CLASSES else None


def _column(data: Any) -> npt.NDArray[Any] | None:
    if is_pair(data):
        return np.asarray(data[1])
    tensors = getattr(data, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return np.asarray(tensors[1])
    if hasattr(data, "dataset") and hasattr(data, "batch_sampler"):  # a loader
        return _column(data.dataset)
    if is_array(data) or not hasattr(data, "__getitem__"):
        return None
    for name in ("targets", "labels"):
        if len(found := np.asarray(getattr(data, name, ()))) == len(data):
            return found
    if len(data) > _LOOKED_AT:
        return None
    try:
        return np.asarray([_label(data[index]) for index in range(len(data))])
    except (TypeError, ValueError, KeyError, IndexError):
        return None


def _label(example: Any) -> int:
    if not isinstance(example, tuple | list) or len(example) != 2:
        raise TypeError
    label = np.asarray(example[1])
    if label.dtype.kind not in "iub" or label.ndim:
        raise TypeError
    return int(label)
