"""A project's own train and evaluate functions, wrapped so that an adapter can call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedops.scalize.adapter.protocol import Batch, EvalResult, TrainContext, TrainResult
from fedops.scalize.flow.datasets import count, is_pair
from fedops.scalize.flow.result_parsing import as_eval_result, as_train_result
from fedops.scalize.flow.signature_binding import Lazy, StepCall

#: Told each thing a train function returned; true when it was a model and has been taken over.
Adopt = Callable[[Any], bool]


class OwnTrain:
    """The train step. The adapter offers ``model``, ``train_data``, ``context`` and what else it has."""

    def __init__(self, call: StepCall, extra: Mapping[str, Any]) -> None:
        self._call, self._extra = call, extra

    def takes(self, key: str) -> bool:
        """Whether the function asks for this offer, e.g. ``proximal_mu`` to apply it itself."""
        return self._call.takes(key)

    def __call__(
        self,
        offers: Mapping[str, Any],
        adopt: Adopt = lambda _: False,
        batch: Batch | None = None,
    ) -> TrainResult:
        context, data = offers["context"], offers["train_data"]
        known = {**self._extra, **_pair(data), **_of_context(context), **offers}
        known["loaders"] = Lazy(lambda: _both(known, batch))
        known |= _batched(self._call, known, batch, train_data=True, validation_data=False)
        value = None
        for epoch in range(1, (context.epochs if self._call.per_epoch else 1) + 1):
            context.check()
            value = _without_models(self._call({**known, "epoch": epoch}), adopt)
            if self._call.per_epoch:
                context.on_epoch(epoch, context.epochs)
        function, label = self._call.function, self._call.label
        return as_train_result(value, count(data, "the data step"), function, label)


class OwnEvaluate:
    """The evaluate step. The adapter offers ``model``, ``data``, ``context`` and what else it has."""

    def __init__(self, call: StepCall, extra: Mapping[str, Any]) -> None:
        self._call, self._extra = call, extra

    def takes(self, key: str) -> bool:
        return self._call.takes(key)

    def __call__(self, offers: Mapping[str, Any], batch: Batch | None = None) -> EvalResult:
        context, data = offers["context"], offers["data"]
        known = {**self._extra, **_pair(data), **_of_context(context), **offers}
        known |= _batched(self._call, known, batch, data=False)
        value = self._call(known)
        examples = count(data, "the data step")
        return as_eval_result(value, examples, self._call.function, self._call.label)


def _of_context(context: TrainContext) -> dict[str, Any]:
    return {
        "context": context,
        "round": context.round,
        "seed": context.seed % 2**32,  # more is too much for numpy, and for whoever passes it on
        "epochs": context.epochs,
        "batch_size": context.batch_size,
        "learning_rate": context.learning_rate,
        "proximal_mu": context.proximal_mu,
        "should_stop": context.cancelled.is_set,
    }


def _batched(
    call: StepCall, known: Mapping[str, Any], batch: Batch | None, **shuffled: bool
) -> dict[str, Any]:
    """What the function wants in batches and would get as examples."""
    wanted = [key for key in shuffled if batch is not None and call.asks_for_batches(key)]
    values = {key: known.get(key) for key in wanted}
    values = {k: v.value if isinstance(v, Lazy) else v for k, v in values.items()}
    return {k: batch(v, shuffled[k]) for k, v in values.items() if batch and v is not None}


def _both(known: Mapping[str, Any], batch: Batch | None) -> dict[str, Any]:
    """Training and validation data under the names that tutorials use."""
    given = {"train": known["train_data"], "val": known.get("validation_data")}
    values = {k: v.value if isinstance(v, Lazy) else v for k, v in given.items()}
    return {k: batch(v, k == "train") if batch else v for k, v in values.items() if v is not None}


def _pair(data: Any) -> dict[str, Any]:
    return {"x": data[0], "y": data[1]} if is_pair(data) else {}


def _without_models(value: Any, adopt: Adopt) -> Any:
    if not isinstance(value, tuple):
        return None if value is None or adopt(value) else value
    rest = tuple(part for part in value if not adopt(part))
    return rest[0] if len(rest) == 1 else rest or None
