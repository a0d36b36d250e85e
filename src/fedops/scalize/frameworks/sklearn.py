"""The adapter of scikit-learn: linear models, multi-layer perceptrons and naive Bayes, also in a Pipeline.

A round is one ``fit`` that starts from the received arrays (naive Bayes: one ``partial_fit``). A scaler
in front is fitted on the device's data in its first round; what it learnt is averaged like any other
statistics (``[exchange] float_buffers``) and then used as received, so that all devices scale alike.
What an estimator keeps beside its arrays is forgotten between rounds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline

from fedops.core.contracts import ExchangeRule, ParameterContract
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list
from fedops.scalize.adapter.accelerators import CpuOnly, choose_accelerator
from fedops.scalize.adapter.parameter_exchange import build_contract, incoming, outgoing
from fedops.scalize.adapter.protocol import AdapterOptions, EvalResult, TrainContext, TrainResult
from fedops.scalize.adapter.random_state import kept_random_state, seed_everything
from fedops.scalize.flow.datasets import count, is_pair
from fedops.scalize.frameworks.sklearn_estimators import (
    Scaler,
    classifies,
    inputs_from,
    parts_of,
    started,
)
from fedops.storage.tensors import Tensors


class SklearnAdapter:
    """One estimator, or a Pipeline that ends in one, kept warm."""

    def __init__(self, model: Any, options: AdapterOptions) -> None:
        self.model = model
        self._options = options
        #: scikit-learn knows the CPU only.
        self.accelerator = choose_accelerator(options.resources, CpuOnly("scikit-learn"), {})
        self._inputs = inputs_from(options, classifies(model))
        with kept_random_state(), _quiet():
            self._parts = parts_of(model, self._inputs)
        self._blank = [deepcopy(vars(part.estimator)) for part in self._parts]
        self._contract = self._make_contract()
        self._own_dtypes = {name: array.dtype.name for name, array in self._arrays().items()}

    @property
    def from_data(self) -> str:
        """What the config does not say and this machine's data did; "" when it says it all."""
        features, classes = self._inputs.features, list(self._inputs.classes or ())
        dataset = self._options.dataset
        if dataset.features and (dataset.classes or not classes):
            return ""
        labels = f" and classes = {classes}" if classes else ""
        return (
            f"the size of the model was read off this machine's data; write features = {features}{labels} "
            "under [dataset], so that the server, which has no data, can make it too"
        )

    @property
    def contract(self) -> ParameterContract:
        return self._contract

    def get_tensors(self) -> Tensors:
        return outgoing(self._contract, self._arrays())

    def set_tensors(self, tensors: Tensors) -> None:
        arrays = incoming(self._contract, tensors, self._own_dtypes)
        for part in self._parts:
            mine = {n.removeprefix(part.prefix): a for n, a in arrays.items() if part.has(n)}
            if mine:
                part.write({**part.read(), **mine})

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        context.check()
        _refuse_proximal(context)
        self._forget()
        seed_everything(context.seed)
        with started(self._parts[-1], self._inputs), _quiet():
            result = self._train(data, context)
        self._settle()
        return result

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        with kept_random_state(), self._unchanged():
            seed_everything(context.seed)
            if self._options.evaluate:
                return self._options.evaluate(
                    {"model": self.model, "data": data, "context": context}
                )
            x, y = _pair(data)
            with _quiet():
                return EvalResult(count(data, "the data step"), self._score(x, y))

    # --- training ---------------------------------------------------------------------------------

    def _train(self, data: Any, context: TrainContext) -> TrainResult:
        if self._options.train:
            offers = {"model": self.model, "train_data": data, "context": context}
            return self._options.train(offers, self._adopt)
        x, y = _pair(data)
        self._fit(x, y)
        return TrainResult(count(data, "the data step"), self._score(x, y))

    def _adopt(self, returned: Any) -> bool:
        """A train function may give back another estimator of the same build: its arrays are taken."""
        if type(returned) is not type(self.model):
            return False
        if returned is not self.model:
            theirs = parts_of(returned, None)
            for mine, other in zip(self._parts, theirs, strict=True):
                mine.write(other.read())
        return True

    def _fit(self, x: Any, y: Any) -> None:
        scalers, last = [p for p in self._parts if isinstance(p, Scaler)], self._parts[-1]
        missing = self._missing_classes(y)
        if isinstance(self.model, Pipeline) and not missing and not any(s.fitted for s in scalers):
            last.fit_whole(self.model, x, y, self._inputs)
            return
        for step in self._steps_before():
            part = next((s for s in scalers if s.estimator is step), None)
            x = step.transform(x) if part is None or part.fitted else step.fit_transform(x, y)
        last.fit(x, y, missing, self._inputs)

    def _steps_before(self) -> list[Any]:
        steps = self.model.steps[:-1] if isinstance(self.model, Pipeline) else []
        return [step for _, step in steps if step not in (None, "passthrough")]

    def _missing_classes(self, y: Any) -> list[Any]:
        """The classes of the federation that this device has no example of."""
        known = self._inputs.classes
        if known is None:
            return []
        here = set(np.unique(np.asarray(y)).tolist())
        if unknown := sorted(here - set(known)):
            classes = comma_list(map(str, known))
            raise Invalid(
                f"the data has label {unknown[0]!r}, which is none of the classes {classes}; "
                "write all classes of the federation as [dataset] classes in the config"
            )
        return [label for label in known if label not in here]

    def _forget(self) -> None:
        """Back to what the constructor made, but for the arrays."""
        for part, blank_state in zip(self._parts, self._blank, strict=True):
            arrays = part.read()
            vars(part.estimator).clear()
            vars(part.estimator).update(deepcopy(blank_state))
            part.write(arrays)

    def _settle(self) -> None:
        """Training may have left arrays of another dtype or shape: the contract's hold."""
        arrays = self._arrays()
        for name, dtype in self._own_dtypes.items():
            arrays[name] = arrays[name].astype(dtype, copy=False)
        self.set_tensors(arrays)

    # --- evaluation -------------------------------------------------------------------------------

    def _score(self, x: Any, y: Any) -> dict[str, float]:
        if not classifies(self.model):
            error = np.asarray(self.model.predict(x), dtype=float) - np.asarray(y, dtype=float)
            return {"loss": float(np.mean(error**2)), "mae": float(np.mean(np.abs(error)))}
        accuracy = float(np.mean(np.asarray(self.model.predict(x)) == np.asarray(y)))
        if not hasattr(self.model, "predict_proba"):
            return {"loss": 1.0 - accuracy, "accuracy": accuracy}
        chances = np.asarray(self.model.predict_proba(x), dtype=float)
        loss = log_loss(y, chances, labels=list(self._inputs.classes or ()))
        return {"loss": float(loss), "accuracy": accuracy}

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        states = [deepcopy(vars(part.estimator)) for part in self._parts]
        try:
            yield
        finally:
            for part, state in zip(self._parts, states, strict=True):
                vars(part.estimator).clear()
                vars(part.estimator).update(state)

    # --- arrays -----------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            f"{part.prefix}{name}": np.asarray(array)
            for part in self._parts
            for name, array in part.read().items()
        }

    def _make_contract(self) -> ParameterContract:
        infos = [info for part in self._parts for info in part.infos()]
        contract = build_contract(infos, self._options.exchange)
        largest = {f"{part.prefix}{name}" for part in self._parts for name in part.largest}
        specs = tuple(
            spec.model_copy(update={"rule": ExchangeRule.MAX})
            if spec.name in largest and spec.rule is ExchangeRule.MEAN
            else spec
            for spec in contract.parameters
        )
        return ParameterContract(parameters=specs)


def _pair(data: Any) -> tuple[Any, Any]:
    if is_pair(data):
        return data[0], data[1]
    raise Invalid(
        f"scikit-learn needs data as (X, y), two of one length; the data step gave a {type(data).__name__}"
    )


def _refuse_proximal(context: TrainContext) -> None:
    if context.proximal_mu:
        raise Invalid(
            "FedProx's proximal term cannot be applied inside scikit-learn; use FedAvg for this model"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """One round need not converge, made-up rows surely do not, and a class may have no example yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
