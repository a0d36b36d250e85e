"""The adapter of Keras 3 models, on any backend.

Weights are named by their layers, without the numbers Keras counts through a process, so that two
devices agree. A compiled model keeps its own optimizer and loss; ``[optimizer]`` and ``[loss]`` in the
config replace them. Every training begins with a fresh optimizer.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from fedops.core.contracts import ParameterContract
from fedops.core.errors import Invalid
from fedops.scalize.adapter.parameter_exchange import TensorInfo, build_contract, incoming, outgoing
from fedops.scalize.adapter.protocol import (
    AdapterOptions,
    EvalResult,
    Part,
    TrainContext,
    TrainResult,
)
from fedops.scalize.adapter.random_state import kept_random_state, seed_everything
from fedops.scalize.flow.datasets import count
from fedops.scalize.frameworks.keras_device import accelerator_of
from fedops.storage.tensors import Tensors

Saved = list[tuple[Any, npt.NDArray[Any]]]
#: How far apart the dropout masks of two rounds start in Keras's counter of random draws.
_DRAWS_A_ROUND = 65_536


class KerasAdapter:
    """One Keras model, kept warm."""

    def __init__(self, model: Any, options: AdapterOptions) -> None:
        self.model = model
        self._options = options
        self.accelerator = accelerator_of(options.resources)
        #: What is not known without data, for whoever has none; "" when nothing.
        self.from_data = _build(model, options)
        self._variables = named_variables(model)
        infos = _infos(model, self._variables)
        self._contract = build_contract(infos, options.exchange)
        self._own_dtypes = {info.name: info.dtype for info in infos}
        self._draws = _save(_random_variables(model))
        _compile(model, options)
        self._compiled = _compile_arguments(model)
        self._optimizer_start: Saved | None = None

    @property
    def contract(self) -> ParameterContract:
        return self._contract

    def get_tensors(self) -> Tensors:
        return outgoing(self._contract, {n: to_numpy(v) for n, v in self._variables.items()})

    def set_tensors(self, tensors: Tensors) -> None:
        for name, array in incoming(self._contract, tensors, self._own_dtypes).items():
            _assign(self._variables[name], array)

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        context.check()
        self._start_afresh(context)
        seed_everything(context.seed)
        with self._proximal(context.proximal_mu):
            if self._options.train:
                offers = self._offers(train_data=data, context=context)
                return self._options.train(offers, self._adopt)
            return self._fit(data, context)

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        with kept_random_state(), _kept(self.model.variables):
            seed_everything(context.seed)
            if self._options.evaluate:
                return self._options.evaluate(self._offers(data=data, context=context))
            _require_compiled(self.model, "evaluate")
            args, batches = _arguments(data, context)
            metrics = self.model.evaluate(*args, **batches, verbose=0, return_dict=True)
        return EvalResult(count(data, "the data step"), _numbers(metrics))

    def _fit(self, data: Any, context: TrainContext) -> TrainResult:
        _require_compiled(self.model, "train")
        args, batches = _arguments(data, context)
        callbacks: Any = keras.callbacks
        stop = callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: context.check())
        history = self.model.fit(
            *args, **batches, epochs=context.epochs, verbose=0, callbacks=[stop]
        ).history
        last = {name: values[-1] for name, values in history.items() if values}
        return TrainResult(count(data, "the data step"), _numbers(last))

    def _offers(self, **offers: Any) -> Mapping[str, Any]:
        compiled = {
            "optimizer": getattr(self.model, "optimizer", None),
            "loss": getattr(self.model, "loss", None),
        }
        return {"model": self.model, **compiled, **offers}

    def _adopt(self, returned: Any) -> bool:
        """A train function may give back another model of the same build: its weights are taken."""
        other, is_model = returned, isinstance(returned, keras.Model)
        if is_model and other is not self.model:
            self.model.set_weights(other.get_weights())
        return is_model

    def _start_afresh(self, context: TrainContext) -> None:
        """Optimizer as after compiling; dropout masks that depend on the round alone."""
        for variable, start in self._draws:
            moved = start.copy()
            moved.flat[-1] = (context.round - 1) * _DRAWS_A_ROUND % 2**31
            _assign(variable, moved)
        if self._compiled:
            # The first fit after compiling draws random numbers that later ones do not.
            self.model.compile(**self._compiled)
        self._reset_optimizer(context)

    def _reset_optimizer(self, context: TrainContext) -> None:
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None:
            return
        lasting = self._compiled.get("optimizer") or optimizer
        if self._optimizer_start is None:
            optimizer.build(self.model.trainable_variables)
            self._optimizer_start = _save(lasting.variables)
        _restore(self._optimizer_start)
        chosen = self._options.optimizer
        if chosen and "learning_rate" not in chosen.kwargs:
            optimizer.learning_rate = context.learning_rate

    @contextmanager
    def _proximal(self, mu: float) -> Iterator[None]:
        """Add mu (w - w_received) to every gradient that reaches the compiled optimizer."""
        train = self._options.train
        if not mu or (train and train.takes("proximal_mu")):
            yield
            return
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None:
            raise Invalid(
                "FedProx needs the model's compiled optimizer; compile the model, or let the train "
                "step take a parameter proximal_mu and apply the term itself"
            )
        with _proximal_gradients(getattr(optimizer, "inner_optimizer", optimizer), self.model, mu):
            yield


@contextmanager
def _proximal_gradients(optimizer: Any, model: Any, mu: float) -> Iterator[None]:
    anchors = {id(v): keras.ops.copy(v.value) for v in model.trainable_variables}
    plain = optimizer.apply

    def apply(grads: Any, trainable_variables: Any = None) -> Any:
        variables = trainable_variables or optimizer._trainable_variables
        pulled = [
            g if g is None else g + keras.ops.cast(mu * (v - anchors[id(v)]), g.dtype)
            for g, v in zip(grads, variables, strict=True)
        ]
        return plain(pulled, trainable_variables)

    optimizer.apply = apply
    model.train_function = None  # it may have been compiled with the plain gradients
    try:
        yield
    finally:
        del optimizer.apply
        model.train_function = None


# --- building and compiling ------------------------------------------------------------------


def _build(model: Any, options: AdapterOptions) -> str:
    """Give a model that was never called its weights, from the data step if need be."""
    told = ""
    if not model.built and options.sample is not None:
        args, _ = _arguments(options.sample(), None)
        model(_first_example(args[0]))
        told = (
            "the model got its weights from the first example of this machine's data; build it in the model "
            "step, so that the server, which has no data, can make it too"
        )
    if not model.weights:
        raise Invalid(
            "the Keras model has no weights yet; build it in the model step, with a keras.Input or "
            "model.build((None, number_of_features))"
        )
    return told


def _first_example(x: Any) -> Any:
    if isinstance(x, Mapping):
        return {name: part[:1] for name, part in x.items()}
    if isinstance(x, list | tuple):
        return [part[:1] for part in x]
    return x[:1] if hasattr(x, "shape") else next(iter(x))[0]


def _compile(model: Any, options: AdapterOptions) -> None:
    if options.optimizer is None and options.loss is None:
        return
    had = model.optimizer if getattr(model, "compiled", False) else "adam"
    optimizer = _named(options.optimizer, keras.optimizers, "optimizer") or had
    loss = _named(options.loss, keras.losses, "loss") or getattr(model, "loss", None)
    model.compile(optimizer=optimizer, loss=loss, metrics=_metrics_for(loss))


def _compile_arguments(model: Any) -> dict[str, Any]:
    """What the model was compiled with, the optimizer as an object; empty when Keras does not tell."""
    told = getattr(getattr(model, "_compile_config", None), "config", None) or {}
    known = inspect.signature(model.compile).parameters
    arguments = {name: value for name, value in told.items() if name in known}
    if isinstance(arguments.get("optimizer"), str | dict):
        optimizer = model.optimizer
        arguments["optimizer"] = getattr(optimizer, "inner_optimizer", optimizer)
    return arguments


def _named(part: Part | None, module: Any, what: str) -> Any:
    """An optimizer or loss by Keras's short name or by a dotted one; None to leave it as it is."""
    if part is None or not (part.target or part.found):
        return None
    kwargs = dict(part.kwargs)
    try:
        if part.found is not None:
            return part.found(**kwargs) if isinstance(part.found, type) else part.found
        return module.get({"class_name": part.target, "config": kwargs} if kwargs else part.target)
    except (ValueError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise Invalid(f"[{what}] '{part.target}': {first}") from None


def _metrics_for(loss: Any) -> list[str]:
    # Keras gives a function or an object for the same short name.
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return ["accuracy"] if "entropy" in name.lower() else []


def _require_compiled(model: Any, what: str) -> None:
    if not getattr(model, "compiled", False):
        raise Invalid(
            f"the Keras model is not compiled and there is no {what} step; call model.compile(...) in "
            'the model step, or write loss = "<a Keras loss>" in the config'
        )


# --- data ------------------------------------------------------------------------------------


def _arguments(data: Any, context: TrainContext | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What ``fit`` gets: arrays and the size of a batch, or something that makes its own batches."""
    batches = {"batch_size": context.batch_size} if context else {}
    if isinstance(data, list | tuple) and len(data) in (2, 3):
        return tuple(data), batches
    return (data,), batches if hasattr(data, "shape") or isinstance(data, Mapping) else {}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in metrics.items()
        if np.ndim(value) == 0 and np.isfinite(value)
    }


# --- variables -------------------------------------------------------------------------------


def to_numpy(variable: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.asarray(keras.ops.convert_to_numpy(variable))
    return array


def _assign(variable: Any, array: npt.NDArray[Any]) -> None:
    wide = array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16, exactly
    variable.assign(keras.ops.convert_to_tensor(wide, dtype=variable.dtype))


def _save(variables: Any) -> Saved:
    return [(variable, to_numpy(variable).copy()) for variable in variables]


def _restore(saved: Saved) -> None:
    for variable, array in saved:
        _assign(variable, array)


@contextmanager
def _kept(variables: Any) -> Iterator[None]:
    saved = _save(variables)
    try:
        yield
    finally:
        _restore(saved)


def _random_variables(model: Any) -> list[Any]:
    """The states of the model's own random generators (dropout, noise)."""
    return [v for v in model.variables if v.path.rsplit("/", 1)[-1] == "seed_generator_state"]


def named_variables(model: Any) -> dict[str, Any]:
    """The model's weights in its order, by names that do not depend on what was built before."""
    canonical = _canonical_layers(model)
    named: dict[str, Any] = {}
    for variable in model.weights:
        parts = variable.path.split("/")
        if parts[0] == model.name and len(parts) > 2:
            parts = parts[1:]
        name = "/".join(canonical.get(part, part) for part in parts)
        twins = sum(1 for known in named if known == name or known.startswith(f"{name}#"))
        named[f"{name}#{twins}" if twins else name] = variable
    return named


def _canonical_layers(model: Any) -> dict[str, str]:
    """Layer name -> the same with a number that counts within this model only."""
    names: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for layer in model._flatten_layers(include_self=False, recursive=True):
        base = _automatic_name(layer)
        if layer.name in names or not base:
            continue
        names[layer.name] = f"{base}_{seen[base]}" if seen[base] else base
        seen[base] += 1
    return names


def _automatic_name(layer: Any) -> str:
    """``dense`` for a layer that Keras named ``dense_7``; nothing for one named by its author."""
    plain = re.sub(r"\W+", "", type(layer).__name__)
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", plain)
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
    match = re.fullmatch(rf"((?:forward_|backward_)?{snake})(_\d+)?", layer.name)
    return match.group(1) if match else ""


def _infos(model: Any, variables: Mapping[str, Any]) -> list[TensorInfo]:
    buffers = {
        id(variable)
        for layer in model._flatten_layers(include_self=True, recursive=True)
        for variable in layer._non_trainable_variables
    }
    return [
        TensorInfo(
            name=name,
            shape=tuple(variable.shape),
            dtype=keras.backend.standardize_dtype(variable.dtype),
            buffer=id(variable) in buffers,
            trainable=bool(variable.trainable),
        )
        for name, variable in variables.items()
    ]
