"""How a training's first batch became the model's arguments and its loss, to repeat that on others."""

from __future__ import annotations

import functools
from typing import Any, Callable, Iterator

#: Functions of ``torch.nn.functional`` that modules of losses call too.
LOSSES = (
    "cross_entropy",
    "nll_loss",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "poisson_nll_loss",
)
#: Calls of losses that are kept until one of them is gone backward from.
_MOST = 16


class Call:
    """One call of a loss."""

    def __init__(self, name: str, run: Any, args: Any, kwargs: Any, result: Any) -> None:
        self.name, self.run, self.result = name, run, result
        self.args, self.kwargs = args, kwargs


class LossCalls:
    """Watches the functions of losses until ``stop``."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._own: dict[str, Any] = {}
        self._calls: list[Call] = []

    def start(self) -> None:
        functional = self._torch.nn.functional
        for name in LOSSES:
            run = getattr(functional, name, None)
            if run is not None:
                self._own[name] = run
                setattr(functional, name, self._watched(name, run))

    def _watched(self, name: str, run: Any) -> Any:
        is_compiling = getattr(getattr(self._torch, "compiler", None), "is_compiling", bool)

        @functools.wraps(run)
        def loss(*args: Any, **kwargs: Any) -> Any:
            result = run(*args, **kwargs)
            if not is_compiling() and self._own and result.requires_grad:
                self._calls = [*self._calls[1 - _MOST :], Call(name, run, args, kwargs, result)]
            return result

        return loss

    def stop(self, root: Any) -> Call | None:
        """The call that ``root`` came from, as it is or scaled by a number."""
        functional = self._torch.nn.functional
        for name, run in self._own.items():
            setattr(functional, name, run)
        calls, self._own, self._calls = self._calls, {}, []
        return next((call for call in calls if _is_of(root, call.result)), None)


def _is_of(root: Any, loss: Any) -> bool:
    if root is loss:
        return True
    made = root.grad_fn
    scaled = type(made).__name__ in ("DivBackward0", "MulBackward0")
    parts = [before for before, _ in made.next_functions if before is not None] if scaled else []
    return len(parts) == 1 and parts[0] is loss.grad_fn


def leaves(value: Any, place: Any = ()) -> Iterator[tuple[Any, Any]]:
    """Tensors in a batch or an output, each with the keys that lead to it."""
    if hasattr(value, "data_ptr"):
        yield place, value
    elif hasattr(value, "items"):
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*place, number))


def at(value: Any, place: Any) -> Any:
    for key in place:
        value = value[key]
    return value


Taker = Callable[[Any], Any]


def taker(torch: Any, wanted: Any, source: Any) -> Taker | None:
    """What takes from another batch (or output) what ``wanted`` is of this one; None: it is not in it.

    A tensor may be of another type or shape there, as long as its values are the same.
    """
    if not hasattr(wanted, "data_ptr"):
        return _taker_of_parts(torch, wanted, source)
    for place, leaf in leaves(source):
        if leaf.numel() == wanted.numel() and _same(torch, leaf, wanted):
            return _take(place, None if leaf.shape == wanted.shape else wanted.shape[1:], wanted)
    return None


def _taker_of_parts(torch: Any, wanted: Any, source: Any) -> Taker | None:
    if isinstance(wanted, (list, tuple)) and any(True for _ in leaves(wanted)):
        parts = [taker(torch, one, source) for one in wanted]
        kind = type(wanted)
        if kind not in (list, tuple) or any(part is None for part in parts):
            return None
        return lambda other: kind(part(other) for part in parts if part is not None)
    return None if any(True for _ in leaves(wanted)) else lambda other: wanted


def _same(torch: Any, leaf: Any, wanted: Any) -> bool:
    if leaf is wanted:
        return True
    with torch.no_grad():
        moved = leaf.detach().to(wanted.device, wanted.dtype).reshape(wanted.shape)
        return bool(torch.equal(moved, wanted.detach()))


def _take(place: Any, rest: Any, wanted: Any) -> Taker:
    dtype, device = wanted.dtype, wanted.device

    def take(other: Any) -> Any:
        found = at(other, place).to(device, dtype)
        return found if rest is None else found.reshape(-1, *rest)

    return take
