"""What the round engine must know of each strategy class: what it is to be given, and what it remembers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy.fedopt import FedOpt

from fedops.flower.strategies.fltrust import FLTrust
from fedops.storage.tensors import Tensors


@dataclass(frozen=True)
class Kind:
    """How a strategy class is dealt with."""

    #: What it aggregates: one reply carrying the weighted mean, or the reply of every client.
    given: Literal["mean", "replies"]
    #: Whether it looks at the model that a round starts from.
    sees_model: bool = False
    #: Attributes that the next round depends on: they belong in the checkpoint.
    state: tuple[str, ...] = ()
    #: Attributes that it sets from the model: cleared before each round, so that they always do.
    renewed: tuple[str, ...] = ()
    #: Give it differences from the model, in double precision. Its rule does not mind where zero is, and
    #: what it compares would drown in single precision.
    differences: bool = False
    #: It adds noise that nobody may foresee.
    entropy: bool = False
    #: Whether an update of half the examples counts half as much.
    weighs: bool = True


_DP = Kind("replies", sees_model=True, entropy=True)
KINDS: dict[type, Kind] = {
    flower.FedAvg: Kind("mean"),
    flower.FedProx: Kind("mean"),
    flower.FedAvgM: Kind(
        "mean", sees_model=True, state=("momentum_vector",), renewed=("current_arrays",)
    ),
    FedOpt: Kind("mean", sees_model=True, state=("m_t", "v_t")),
    flower.FedAdagrad: Kind("mean", sees_model=True, state=("m_t", "v_t")),
    flower.FedAdam: Kind("mean", sees_model=True, state=("m_t", "v_t")),
    flower.FedYogi: Kind("mean", sees_model=True, state=("m_t", "v_t")),
    flower.QFedAvg: Kind("replies", sees_model=True),
    flower.FedMedian: Kind("replies", differences=True, weighs=False),
    flower.FedTrimmedAvg: Kind("replies", differences=True, weighs=False),
    flower.Krum: Kind("replies", differences=True, weighs=False),
    flower.MultiKrum: Kind("replies", differences=True),
    flower.Bulyan: Kind("replies", differences=True, weighs=False),
    FLTrust: Kind("replies", sees_model=True, weighs=False),
    flower.DifferentialPrivacyServerSideFixedClipping: _DP,
    flower.DifferentialPrivacyClientSideFixedClipping: _DP,
    flower.DifferentialPrivacyServerSideAdaptiveClipping: Kind(
        "replies", sees_model=True, state=("clipping_norm",), entropy=True
    ),
    flower.DifferentialPrivacyClientSideAdaptiveClipping: Kind(
        "replies", sees_model=True, state=("clipping_norm",), entropy=True
    ),
}
#: Methods with which a class of its own may do anything with replies and model.
_OWN_WAYS = ("aggregate_train", "configure_train")


def kind_of(strategy: flower.Strategy) -> Kind:
    """The kind of the nearest known class. A class that does things its own way gets everything there is.

    It may name more attributes to checkpoint in a class attribute ``fedops_state``.
    """
    cls = type(strategy)
    known = next((c for c in cls.__mro__ if c in KINDS), None)
    base = KINDS[known] if known else Kind("replies", sees_model=True)
    own = tuple(getattr(cls, "fedops_state", ()))
    if known is cls:
        return base
    if known is None or any(getattr(cls, n) is not getattr(known, n) for n in _OWN_WAYS):
        return Kind("replies", True, base.state + own, base.renewed, False, base.entropy)
    return replace(base, state=base.state + own)


def layers_of(strategy: flower.Strategy) -> Iterator[flower.Strategy]:
    """The strategy, and the ones it wraps."""
    inner: Any = strategy
    while isinstance(inner, flower.Strategy):
        yield inner
        inner = getattr(inner, "strategy", None)


# --- state as tensors ------------------------------------------------------------------------
#
#   attr            a number or an array
#   attr:key        a value of a dict of arrays
#   attr#000003     an item of a list of arrays
#   1/attr...       the same of the strategy wrapped once, and so on


def export_state(strategy: flower.Strategy) -> Tensors:
    """The state of a strategy and of those it wraps."""
    state: Tensors = {}
    for depth, layer in enumerate(layers_of(strategy)):
        for name in kind_of(layer).state:
            value = getattr(layer, name, None)
            state |= {f"{depth}/{key}": array for key, array in _flat(name, value).items()}
    return state


def _flat(name: str, value: Any) -> Tensors:
    if value is None:
        return {}
    if isinstance(value, dict):
        return {f"{name}:{key}": np.asarray(array) for key, array in value.items()}
    if isinstance(value, list | tuple):
        return {f"{name}#{i:06}": np.asarray(array) for i, array in enumerate(value)}
    return {name: np.asarray(value)}


def import_state(strategy: flower.Strategy, state: Tensors) -> None:
    """Put back what ``export_state`` gave."""
    for depth, layer in enumerate(layers_of(strategy)):
        prefix = f"{depth}/"
        own = {k.removeprefix(prefix): a for k, a in state.items() if k.startswith(prefix)}
        for name in kind_of(layer).state:
            if (value := _unflat(name, own)) is not None:
                setattr(layer, name, value)


def _unflat(name: str, own: Tensors) -> Any:
    if name in own:
        array = own[name]
        return array.item() if array.ndim == 0 else array.copy()
    keyed = {
        k.removeprefix(f"{name}:"): a.copy() for k, a in own.items() if k.startswith(f"{name}:")
    }
    listed = [own[key].copy() for key in sorted(own) if key.startswith(f"{name}#")]
    return keyed or listed or None
