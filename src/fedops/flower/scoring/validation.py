"""What a model achieves on the server's validation data: a number to be raised, and one for each class."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import FedOpsError, Invalid
from fedops.flower.scoring.error_sentence import error_sentence
from fedops.scalize.adapter.protocol import GivesGradients, ModelAdapter, TrainContext
from fedops.scalize.flow.datasets import count, is_array, is_pair, take
from fedops.storage.tensors import Tensors

logger = logging.getLogger("fedops.engine")

#: With more classes than these nobody reads a value for each, and evaluating one by one takes too long.
MOST_CLASSES = 20
#: To learn their labels, so many examples are loaded at most.
_LOOKED_AT = 5_000
#: A model is never worse than this many times what the round began with: a ruined one ruins no estimate.
WORST = 10.0
#: How far the mean over the classes may be from the mean over all, if the loss is a mean of examples.
SAME = 0.02


#: What is made a utility, the first that is reported, and its sign.
METRICS = {"loss": -1.0, "accuracy": 1.0}


class EvaluationFailed(Invalid):
    """The model that a round began with cannot be evaluated, so nothing can be compared with it."""


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
        #: Settled, as the classes are, by the first model that can be evaluated. None: not yet.
        self._can_be_cut: bool | None = None
        #: The metric that the app's first model gave, before any round. None: it could not be evaluated.
        self.first_metric: str | None = None

    def on(self, examples: int, seed: int, metric: str | None = None) -> Measure:
        """What measures models on so many of the examples, drawn by the seed.

        ``metric``: the one that the history is of, if there is any.
        """
        size = min(examples, self.examples)
        rng = np.random.default_rng(seed)
        drawn = np.sort(rng.choice(self.examples, size, replace=False)).astype(np.int64)
        data = self._cut(drawn)
        whole = [Part(self._data if data is None else data, 1.0)]
        if self._by_class is None:
            self._by_class = self._classes_make_up(whole, drawn)
        measure = self._measure(self._parts(drawn) if self._by_class else whole, seed)
        measure.whole, measure.wanted, measure.metric = whole[0].data, size, metric
        measure.examples = self.examples if data is None and not self._by_class else size
        measure.first_metric = self.first_metric
        if self._by_class and self._labels is not None:
            measure.classes = [str(label) for label in np.unique(self._labels)]
        return measure

    def _measure(self, parts: Sequence[Part], seed: int) -> Measure:
        return Measure(self._adapter, replace(self._context, seed=seed), parts)

    def _cut(self, drawn: npt.NDArray[np.int64]) -> Any:
        """The examples that were drawn; None: the data cannot be cut, or all were drawn."""
        if len(drawn) == self.examples or self._can_be_cut is False:
            return None
        try:
            part = take(self._data, drawn)
        except Exception:  # nobody knows how
            self._can_be_cut = False
            return None
        if self._can_be_cut is None:
            self._can_be_cut = self._evaluates(part) or (False if self._evaluates() else None)
        return None if self._can_be_cut is False else part

    def _evaluates(self, part: Any = None) -> bool:
        """Whether the app evaluates its model on a part, or on all.

        A loader with a sampler of its own, or that drops what fills no batch, is of no use in parts. If
        it fails on all of the data too, that is not because it was cut.
        """
        data = self._data if part is None else part
        try:
            self._measure([Part(data, 1.0)], 0).begin(self._adapter.get_tensors())
        except EvaluationFailed:
            return False
        return True

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

    def _classes_make_up(self, whole: Sequence[Part], drawn: npt.NDArray[np.int64]) -> bool:
        """Whether what is measured on the classes is, together, what is measured on all."""
        model = self._adapter.get_tensors()
        try:
            apart = self._measure(self._parts(drawn), 0).begin(model)
            together = self._measure(whole, 0).begin(model)
        except FedOpsError:
            return False
        return abs(apart - together) <= SAME * max(abs(together), 1e-6)  # not, if one is no number


class Measure:
    """Measures models on parts of the validation data: the total, then each part if there are several.

    One metric is measured, for all models. Who does not report it, or no number, has the worst utility.
    """

    def __init__(self, adapter: ModelAdapter, context: TrainContext, parts: Sequence[Part]) -> None:
        self._adapter = adapter
        self._context = context
        self._parts = parts
        #: The examples of all parts together, how many are evaluated, and how many were to be.
        self.whole: Any = None
        self.examples, self.wanted = 0, 0
        #: The labels of the parts, if these are classes.
        self.classes: list[str] = []
        #: The metric of the history, then the one that is measured; and what the app's first model gave.
        self.metric: str | None = None
        self.first_metric: str | None = None
        #: How many models were no number, and are as bad as can be.
        self.ruined = 0
        self._worst = -math.inf
        self._began: tuple[Tensors, list[float]] | None = None

    def begin(self, model: Tensors) -> float:
        """Settle the metric and the worst utility by the model that the round began with; its utility.

        Raises:
            EvaluationFailed: evaluating it fails, or gives neither a loss nor an accuracy.
        """
        try:
            reported = self._reported(model)
        except MemoryError:
            raise
        except Exception as error:
            raise EvaluationFailed(
                f"evaluating the model that the round began with failed: {error_sentence(error)}"
            ) from None
        known = {name for one in reported for name, value in one.items() if math.isfinite(value)}
        self.metric = self._settled(known)
        found = self._utilities(reported)
        self.ruined = int(not all(math.isfinite(value) for value in found))
        total = self._total(found)
        base = total if math.isfinite(total) else 0.0
        self._worst = base - WORST * (abs(base) + 1.0)
        self._began = (model, self._row(found))
        return total

    def _settled(self, known: set[str]) -> str:
        """The history's metric, unless this app never had it."""
        first = self.first_metric
        if self.metric is not None and (self.metric in known or first in (None, self.metric)):
            return self.metric
        for name in METRICS:
            if name in known or name == first:
                return name
        raise EvaluationFailed("the app's evaluation gives neither 'loss' nor 'accuracy'")

    def __call__(self, model: Tensors) -> list[float]:
        """After ``begin``. A model that cannot be evaluated has the worst utility."""
        assert self._began is not None
        before, row = self._began
        if all(model.get(name) is array for name, array in before.items()):
            return row
        try:
            reported = self._reported(model)
        except MemoryError:
            raise
        except Exception as error:
            logger.warning("evaluating the model of a coalition failed: %s", error_sentence(error))
            reported = [{} for _ in self._parts]
        found = self._utilities(reported)
        self.ruined += not all(math.isfinite(value) for value in found)
        return self._row(found)

    def _reported(self, model: Tensors) -> list[Mapping[str, float]]:
        self._adapter.set_tensors(model)
        return [
            {} if part.data is None else self._adapter.evaluate(part.data, self._context).metrics
            for part in self._parts
        ]

    def _utilities(self, reported: Sequence[Mapping[str, float]]) -> list[float]:
        """Of each part: 0 without an example, and no number where the metric is missing."""
        assert self.metric is not None
        return [
            0.0
            if part.data is None
            else METRICS[self.metric] * float(one.get(self.metric, math.nan))
            for part, one in zip(self._parts, reported, strict=True)
        ]

    def _row(self, found: Sequence[float]) -> list[float]:
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
