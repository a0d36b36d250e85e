"""Shared by the adapters: the parameter contract by declared rules, and tensors checked against it.

What a tensor is (parameter or buffer, its dtype) is told by the framework, never guessed from a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from fedops.config.schema import Exchange
from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.storage.tensors import Tensors


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as its framework sees it."""

    name: str
    shape: tuple[int, ...]
    dtype: str  #: numpy's name, "bfloat16" included
    #: State that training updates by other means than gradients (running statistics, counters).
    buffer: bool = False
    trainable: bool = True


def build_contract(tensors: Sequence[TensorInfo], rules: Exchange) -> ParameterContract:
    """The contract of a model under the rules of ``[exchange]``.

    Raises:
        Invalid: a pattern of ``local`` fits no tensor, or nothing would travel at all.
    """
    _check_patterns(rules.local, [tensor.name for tensor in tensors])
    specs = tuple(_spec(tensor, rules) for tensor in tensors)
    contract = ParameterContract(parameters=specs)
    if not contract.federated:
        reason = "[exchange] keeps all of them local" if tensors else "it has none"
        raise Invalid(f"no tensor of the model would travel: {reason}")
    return contract


def _spec(tensor: TensorInfo, rules: Exchange) -> ParameterSpec:
    rule = _rule(tensor, rules)
    averaged = rule is ExchangeRule.MEAN and rules.dtype is not None
    return ParameterSpec(
        name=tensor.name,
        shape=tensor.shape,
        dtype=rules.dtype if averaged and rules.dtype else tensor.dtype,
        rule=rule,
        trainable=tensor.trainable and not tensor.buffer,
    )


def _rule(tensor: TensorInfo, rules: Exchange) -> ExchangeRule:
    if any(fnmatchcase(tensor.name, pattern) for pattern in rules.local):
        return ExchangeRule.LOCAL
    if is_floating(tensor.dtype):
        return ExchangeRule(rules.float_buffers) if tensor.buffer else ExchangeRule.MEAN
    if np.dtype(tensor.dtype).kind in "iub":
        return ExchangeRule(rules.integer_buffers)
    raise Invalid(
        f"tensor '{tensor.name}' has dtype {tensor.dtype}, which cannot be aggregated; "
        f"keep it on the device with [exchange] local = ['{tensor.name}']"
    )


def is_floating(dtype: str) -> bool:
    """Whether a dtype (by name, bfloat16 and float8 included) is real floating point."""
    # ml_dtypes' own types are of kind "V" to numpy; its integers are not in use.
    return np.dtype(dtype).kind == "f" or hasattr(ml_dtypes, dtype)


def _check_patterns(patterns: Iterable[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            guess = did_you_mean(pattern, names)
            raise Invalid(
                f"[exchange] local: '{pattern}' fits no tensor of the model{guess or ';'} "
                f"its tensors: {shortened(names)}"
            )


def shortened(names: Sequence[str], limit: int = 12) -> str:
    """The first names, and how many there are beyond."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return comma_list(names[:limit]) + more


def check_tensors(contract: ParameterContract, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Every tensor given is one of the contract's, with its shape and dtype.

    Raises:
        Invalid: naming up to three that are not, both sides shown.
    """
    specs = {spec.name: spec for spec in contract.parameters}
    wrong = [
        line
        for name, array in tensors.items()
        if (line := _mismatch(specs.get(name), name, array, specs))
    ]
    if wrong:
        more = [f"and {len(wrong) - 3} more"] if len(wrong) > 3 else []
        raise Invalid("the tensors do not fit the model: " + "; ".join([*wrong[:3], *more]))


def _mismatch(
    spec: ParameterSpec | None, name: str, array: npt.NDArray[Any], known: Iterable[str]
) -> str:
    if spec is None:
        return f"the model has no '{name}'{did_you_mean(name, known)}"
    if (array.dtype.name, array.shape) == (spec.dtype, spec.shape):
        return ""
    given = f"{array.dtype.name}{list(array.shape)}"
    return f"'{name}' is {spec.dtype}{list(spec.shape)} in the model, {given} was given"


def outgoing(contract: ParameterContract, arrays: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    """Dense copies in the order and with the dtypes of the contract, fit for ``get_tensors``."""
    return {
        spec.name: np.array(arrays[spec.name], dtype=np.dtype(spec.dtype), order="C", copy=True)
        for spec in contract.parameters
    }


def incoming(
    contract: ParameterContract,
    tensors: Mapping[str, npt.NDArray[Any]],
    own_dtypes: Mapping[str, str],
) -> Tensors:
    """Writable dense copies in the model's own dtypes, checked first: for ``set_tensors``."""
    check_tensors(contract, tensors)
    return {
        name: np.array(array, dtype=np.dtype(own_dtypes[name]), order="C", copy=True)
        for name, array in tensors.items()
    }
