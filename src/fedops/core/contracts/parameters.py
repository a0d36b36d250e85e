"""The parameter contract: the tensors of a model, and which of them travel."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from enum import StrEnum
from math import prod

from fedops.core.contracts.base import Reply


class ExchangeRule(StrEnum):
    """How one tensor of the model takes part in the federation."""

    MEAN = "mean"  #: travels; the mean weighted by examples (floating point only)
    MAX = "max"  #: travels; the elementwise maximum (counters and other integer buffers)
    LOCAL = "local"  #: never leaves the device; the server keeps its initial value


class ParameterSpec(Reply):
    """One tensor of the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    rule: ExchangeRule
    trainable: bool = True


class ParameterContract(Reply):
    """Names, shapes, dtypes and order of what is exchanged."""

    parameters: tuple[ParameterSpec, ...]

    @property
    def federated(self) -> tuple[ParameterSpec, ...]:
        """The tensors that travel, in the order of the model."""
        return tuple(p for p in self.parameters if p.rule is not ExchangeRule.LOCAL)

    @property
    def federated_bytes(self) -> int:
        """What the tensors that travel take, without their names."""
        return sum(prod(p.shape) * _bytes_each(p.dtype) for p in self.federated)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that two models share exactly when their exchanged tensors agree."""
        rows = [[p.name, list(p.shape), p.dtype, p.rule.value] for p in self.federated]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def differences(self, other: ParameterContract, limit: int = 3) -> list[str]:
        """One line per tensor on which ``self`` (here) and ``other`` (there) disagree."""
        mine = {p.name: p for p in self.federated}
        theirs = {p.name: p for p in other.federated}
        lines = [
            f"'{name}': {_describe(mine.get(name))} here, {_describe(theirs.get(name))} there"
            for name in _union(mine, theirs)
            if _describe(mine.get(name)) != _describe(theirs.get(name))
        ]
        if not lines and self.fingerprint != other.fingerprint:
            lines = ["the same tensors in another order"]
        more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
        return lines[:limit] + more


def _bytes_each(dtype: str) -> int:
    """``float32``: 4. The names of dtypes end with their bits; only ``bool`` has none."""
    bits = re.search(r"\d+$", dtype)
    return int(bits[0]) // 8 if bits else 1


def _describe(spec: ParameterSpec | None) -> str:
    return f"{spec.dtype}{list(spec.shape)} ({spec.rule})" if spec else "absent"


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))
