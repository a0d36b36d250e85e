"""The contract every adapter passes, as a function: ``fedops.testing.check_adapter``.

It only uses the protocol, so that adapters from elsewhere can be held to it as ours are.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.scalize.adapter.parameter_exchange import is_floating
from fedops.scalize.adapter.protocol import (
    Cancelled,
    EvalResult,
    ModelAdapter,
    TrainContext,
    WarmsUp,
)
from fedops.scalize.adapter.random_state import seed_everything
from fedops.storage.tensors import Tensors, pack, unpack


def check_adapter(
    make: Callable[[int], ModelAdapter],
    data: Any,
    *,
    validation: Any = None,
    context: TrainContext | None = None,
    locally: Callable[[int], Mapping[str, npt.NDArray[Any]]] | None = None,
) -> None:
    """Check an adapter against the contract of ``fedops.scalize.adapter.protocol.ModelAdapter``.

    Args:
        make: builds a fresh adapter round the same small model; the argument is the seed.
        data: what the adapter trains on; ``validation`` what it evaluates on (default: ``data``).
        context: of the one local training (default: one epoch, small batches).
        locally: trains the same model without FedOps, in the framework's own words: given the seed of
            the model it returns the arrays by their names of the contract (some or all of them).

    Raises:
        AssertionError: with one sentence that says which promise was broken, and how.
    """
    case = _Case(make, data, data if validation is None else validation, context or CONTEXT)
    for promise in _PROMISES:
        promise(case)
    if locally is not None:
        _same(case.federated_round(), locally(case.seed), "one client, one round: local training")


#: One epoch in small batches.
CONTEXT = TrainContext(round=1, seed=11, epochs=1, batch_size=8, learning_rate=0.01)


@dataclass(frozen=True)
class _Case:
    make: Callable[[int], ModelAdapter]
    data: Any
    validation: Any
    context: TrainContext
    seed: int = 7

    def adapter(self) -> ModelAdapter:
        """A fresh adapter, rounded to what travels where that is less precise than the model."""
        seed_everything(self.seed)
        adapter = self.make(self.seed)
        adapter.set_tensors(adapter.get_tensors())
        return adapter

    def federated_round(self) -> Tensors:
        """Server's model -> wire -> client trains -> wire -> the mean of one -> server."""
        server, client = self.adapter(), self.adapter()
        client.set_tensors(unpack(pack(_federated(server))))
        client.train(self.data, self.context)
        update = unpack(pack(_federated(client)))
        server.set_tensors(update)
        return server.get_tensors()


def _federated(adapter: ModelAdapter) -> Tensors:
    tensors = adapter.get_tensors()
    return {spec.name: tensors[spec.name] for spec in adapter.contract.federated}


def _snapshot(adapter: ModelAdapter) -> Tensors:
    return {name: np.array(array) for name, array in adapter.get_tensors().items()}


def _promise_contract(case: _Case) -> None:
    adapter = case.adapter()
    contract, tensors = adapter.contract, adapter.get_tensors()
    names = [spec.name for spec in contract.parameters]
    _claim(bool(names), "the contract has no tensor")
    _claim(len(set(names)) == len(names), f"names occur twice in the contract: {names}")
    _claim(
        list(tensors) == names, f"get_tensors gave {list(tensors)}, the contract's order is {names}"
    )
    for spec in contract.parameters:
        given = tensors[spec.name]
        said, seen = (spec.dtype, spec.shape), (given.dtype.name, given.shape)
        _claim(said == seen, f"'{spec.name}': the contract says {said}, get_tensors gave {seen}")
        floating = spec.rule is not ExchangeRule.MEAN or is_floating(spec.dtype)
        _claim(floating, f"'{spec.name}' is {spec.dtype}: only floating point can have rule 'mean'")
    again = case.adapter()
    _claim(
        again.contract == contract,
        f"two builds gave two contracts: {contract.differences(again.contract)}",
    )
    _same(again.get_tensors(), tensors, "two builds from one seed")


def _promise_warm_up(case: _Case) -> None:
    adapter = case.adapter()
    before = _snapshot(adapter)
    if isinstance(adapter, WarmsUp):
        adapter.warm_up()
    _same(adapter.get_tensors(), before, "warm_up changed the model")


def _promise_copies(case: _Case) -> None:
    adapter = case.adapter()
    before, tensors = _snapshot(adapter), adapter.get_tensors()
    for name, array in tensors.items():
        _claim(array.flags.writeable, f"get_tensors gave a read-only array for '{name}'")
        array[...] = np.ones((), array.dtype)
    _same(adapter.get_tensors(), before, "writing into what get_tensors gave changed the model")
    adapter.set_tensors(tensors)
    ones = {name: np.ones_like(array) for name, array in before.items()}
    for array in tensors.values():
        array[...] = np.zeros((), array.dtype)
    _same(adapter.get_tensors(), ones, "writing into what was given to set_tensors changed it")


def _promise_round_trip(case: _Case) -> None:
    adapter = case.adapter()
    sent = {name: _any_values(array, i) for i, (name, array) in enumerate(_items(adapter))}
    adapter.set_tensors(sent)
    _same(adapter.get_tensors(), sent, "what set_tensors was given (is a tied tensor named twice?)")
    adapter.set_tensors(unpack(pack(sent)))
    _same(adapter.get_tensors(), sent, "what came over the wire")
    adapter.set_tensors({name: _not_contiguous(array) for name, array in sent.items()})
    _same(adapter.get_tensors(), sent, "arrays that are not contiguous")
    kept, (name, one) = _snapshot(adapter), next(iter(sent.items()))
    adapter.set_tensors({name: np.ones_like(one)})
    _same(adapter.get_tensors(), {**kept, name: np.ones_like(one)}, "setting one tensor alone")


def _items(adapter: ModelAdapter) -> Iterable[tuple[str, npt.NDArray[Any]]]:
    return adapter.get_tensors().items()


def _any_values(like: npt.NDArray[Any], seed: int) -> npt.NDArray[Any]:
    """Arbitrary values of the same shape and dtype, with a negative zero and a subnormal number."""
    rng = np.random.default_rng(seed)
    if like.dtype.kind in "iub":
        high = 2 if like.dtype.kind == "b" else 100
        return np.asarray(rng.integers(0, high, like.shape)).astype(like.dtype)
    values = np.asarray(rng.normal(size=like.shape)).astype(like.dtype)
    for index, odd in enumerate((-0.0, np.nextafter(0, 1, dtype=np.float32))[: values.size - 1]):
        values.flat[index] = odd
    return values


def _not_contiguous(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 0:
        return array
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _promise_refusal(case: _Case) -> None:
    adapter = case.adapter()
    before = _snapshot(adapter)
    first, *_ = adapter.contract.parameters
    array = before[first.name]
    good = {name: _any_values(a, 1) for name, a in before.items() if name != first.name}
    other_shape = np.zeros((*array.shape, 3), array.dtype)
    other_dtype = array.astype(np.float64 if array.dtype != np.float64 else np.float32)
    _refuses(adapter, {**good, first.name: other_shape}, (str(list(array.shape)), "3]"))
    _refuses(adapter, {**good, first.name: other_dtype}, (array.dtype.name, other_dtype.dtype.name))
    _refuses(adapter, {**good, "no-such-tensor": array}, ("no-such-tensor",))
    _same(adapter.get_tensors(), before, "a refused set_tensors changed the model")


def _refuses(adapter: ModelAdapter, tensors: Tensors, both_sides: tuple[str, ...]) -> None:
    try:
        adapter.set_tensors(tensors)
    except Invalid as error:
        missing = [side for side in both_sides if side not in error.message]
        _claim(not missing, f"the refusal '{error.message}' does not show {missing}")
    else:
        raise AssertionError(f"set_tensors took a wrong array: it should have shown {both_sides}")


def _promise_evaluate(case: _Case) -> None:
    adapter, undisturbed = case.adapter(), case.adapter()
    before = _snapshot(adapter)
    first = _evaluate(adapter, case)
    _same(adapter.get_tensors(), before, "evaluate changed the model")
    again = _evaluate(adapter, case)
    _claim(again == first, f"two evaluations of one model differ: {first.metrics}, {again.metrics}")
    _claim(first.examples > 0, "evaluate counted no example")
    _claim(bool(first.metrics), "evaluate gave no metric")
    adapter.train(case.data, case.context)
    undisturbed.train(case.data, case.context)
    _same(
        adapter.get_tensors(), undisturbed.get_tensors(), "evaluating before changed the training"
    )


def random_state() -> dict[str, Any]:
    """The state of each global generator in the process, comparable."""
    state: dict[str, Any] = {"random": random.getstate()}
    _, keys, position, *rest = np.random.get_state(legacy=True)
    state["numpy"] = (np.asarray(keys).tobytes(), position, *rest)
    if torch := sys.modules.get("torch"):
        state["torch"] = torch.get_rng_state().numpy().tobytes()
    return state


def _evaluate(adapter: ModelAdapter, case: _Case) -> EvalResult:
    seed_everything(3)
    before = random_state()
    result = adapter.evaluate(case.validation, case.context)
    changed = [name for name, state in random_state().items() if state != before.get(name, state)]
    _claim(not changed, f"evaluate moved the random state of {changed}")
    return result


def _promise_train(case: _Case) -> None:
    adapter = case.adapter()
    before = _snapshot(adapter)
    result = adapter.train(case.data, case.context)
    after = _snapshot(adapter)
    _claim(result.examples > 0, "train counted no example")
    _claim(
        all(math.isfinite(value) for value in result.metrics.values()),
        f"train gave {result.metrics}",
    )
    _claim(
        any(after[name].tobytes() != before[name].tobytes() for name in before),
        "training changed nothing",
    )
    _same(_trained(case.adapter(), case), after, "the same seed gave another update")
    adapter.set_tensors(before)
    _same(_trained(adapter, case), after, "the second training of one adapter, from the same model")


def _trained(adapter: ModelAdapter, case: _Case) -> Tensors:
    seed_everything(99)  # whatever the process did before must not matter
    adapter.train(case.data, case.context)
    return adapter.get_tensors()


def _promise_one_round(case: _Case) -> None:
    adapter = case.adapter()
    adapter.train(case.data, case.context)
    trained, server = _federated(adapter), case.federated_round()
    _same({name: server[name] for name in trained}, trained, "one client and one round")


def _promise_cancel(case: _Case) -> None:
    adapter = case.adapter()
    stopped = replace(case.context, cancelled=threading.Event())
    stopped.cancelled.set()
    with contextlib.suppress(Cancelled):
        adapter.train(case.data, stopped)


_PROMISES: tuple[Callable[[_Case], None], ...] = (
    _promise_contract,
    _promise_warm_up,
    _promise_copies,
    _promise_round_trip,
    _promise_refusal,
    _promise_evaluate,
    _promise_train,
    _promise_one_round,
    _promise_cancel,
)


def _claim(holds: bool, otherwise: str) -> None:
    """An assertion that Python's -O leaves in place."""
    if not holds:
        raise AssertionError(otherwise)


def _same(given: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Equal to the bit: -0.0 is not 0.0 here, and NaN is itself."""
    for name, array in wanted.items():
        _claim(name in given, f"{what}: '{name}' is missing")
        mine, theirs = np.asarray(given[name]), np.asarray(array)
        sides = f"{mine.dtype}{list(mine.shape)} and {theirs.dtype}{list(theirs.shape)}"
        _claim(
            (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), f"{what}: '{name}': {sides}"
        )
        if mine.tobytes() != theirs.tobytes():
            raise AssertionError(f"{what}: '{name}' differs: {_first_difference(mine, theirs)}")


def _first_difference(mine: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> str:
    a, b = np.atleast_1d(mine), np.atleast_1d(theirs)
    places = np.argwhere((a != b) | (np.signbit(a) != np.signbit(b)))
    where = tuple(int(i) for i in places[0]) if len(places) else (0,) * a.ndim
    return f"{a[where]} is not {b[where]} at {list(where)} ({len(places)} of {a.size} values)"
