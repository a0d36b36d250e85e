"""The global model between two rounds: a file, of which memory holds only what is being worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.algorithms.aggregation import max_of, mean_metrics, mean_of, weighted_mean
from fedops.core.contracts import ExchangeRule, ParameterContract
from fedops.core.errors import Invalid, Unavailable
from fedops.engine.aggregation_port import AggregationPort, ClientUpdate, TensorMap
from fedops.engine.update_checks import CheckedUpdate, count_not_finite
from fedops.storage.atomic_files import sha256_of
from fedops.storage.tensors import FlatTensors, TensorFile, Tensors

Names = tuple[str, ...]
_Identity = tuple[int, int, int]
#: Elements from and to of some tensors, as if they were one array.
Piece = Callable[[Names, int, int], npt.NDArray[Any]]


@dataclass(frozen=True)
class StoredUpdate:
    """A checked update whose tensors wait on disk."""

    checked: CheckedUpdate
    node_id: int
    path: Path
    #: What its weight in a mean is multiplied by.
    factor: float = 1.0
    #: Which file was checked: another one, or this one written to, is not it.
    _checked: _Identity = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_checked", _identity(self.path))

    @property
    def device(self) -> str:
        return self.checked.device

    def counting(self, factor: float) -> StoredUpdate:
        """The same checked file, counting so much."""
        made = replace(self, factor=factor)
        object.__setattr__(made, "_checked", self._checked)
        return made

    def require_unchanged(self) -> None:
        """``Unavailable`` when its file is not the one that was checked: the round is taken up anew."""
        if _identity(self.path) != self._checked:
            raise Unavailable(
                f"the update of device '{self.device}' changed on the server's disk after it was checked:"
                " the updates of the round are checked again"
            )


@dataclass(frozen=True)
class GlobalModel:
    """All tensors of the contract; the local ones at the server's value."""

    path: Path
    sha256: str
    contract: ParameterContract
    #: Which file has this digest: another one, or this one written to, may have another.
    _hashed: _Identity = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hashed", _identity(self.path))

    def check(self) -> None:
        """``Invalid`` when the file does not hold what the contract says."""
        file = self.file
        for spec in self.contract.parameters:
            has = (
                f"{file.dtype(spec.name)}{list(file.shape(spec.name))}" if spec.name in file else ""
            )
            if has != f"{spec.dtype}{list(spec.shape)}":
                raise Invalid(
                    f"the model to start from does not fit the app: '{spec.name}' is"
                    f" {has or 'absent'} in it, and {spec.dtype}{list(spec.shape)} in the app"
                )

    @property
    def file(self) -> TensorFile:
        """Its tensors. Raises as ``require_unchanged`` does."""
        self.require_unchanged()
        return TensorFile(self.path)

    def require_unchanged(self) -> None:
        """``Unavailable`` when something wrote to the file: the next attempt mends that."""
        if _identity(self.path) != self._hashed:
            raise self._damaged()

    def require_whole(self) -> None:
        """Read it all: ``Unavailable`` when it is damaged."""
        if _identity(self.path) != self._hashed or sha256_of(self.path) != self.sha256:
            raise self._damaged()

    def _damaged(self) -> Unavailable:
        return Unavailable(
            f"the file of the global model {self.sha256[:12]} was damaged on the server's disk:"
            " the next attempt looks for the last one that is whole"
        )

    @property
    def is_exchanged_whole(self) -> bool:
        """Whether its file is what clients are given, as it is."""
        return not self.names(ExchangeRule.LOCAL)

    def exchanged(self) -> Tensors:
        """The tensors that travel."""
        self.require_whole()
        file = self.file
        return {spec.name: file[spec.name] for spec in self.contract.federated}

    def averaged(self) -> Tensors:
        """The tensors that strategies work on."""
        file = self.file
        return {name: file[name] for name in self.names(ExchangeRule.MEAN)}

    def names(self, rule: ExchangeRule) -> list[str]:
        return [spec.name for spec in self.contract.parameters if spec.rule is rule]

    def next(
        self,
        path: Path,
        round_: int,
        strategy: AggregationPort | None,
        updates: Sequence[StoredUpdate],
    ) -> GlobalModel:
        """The model that the strategy makes of the updates, in the order of their devices' names.

        Without a strategy it is their weighted mean.

        Raises:
            Invalid: the strategy failed, or what it made holds NaN or infinite values.
            Unavailable: an update was damaged meanwhile.
        """
        rules = {spec.name: spec.rule for spec in self.contract.parameters}
        ordered = sorted(updates, key=lambda update: update.device)
        weights = _weights(ordered)
        plain = strategy is None or strategy.is_plain_mean()

        def kind(name: str) -> object:
            return rules[name] if plain else (rules[name], name)

        file = self.file
        pieces = _Pieces([update.path for update in ordered], file.neighbours(kind), rules)
        if strategy is None or plain:
            mean: Piece = lambda names, a, b: mean_of(pieces(names, a, b), weights)  # noqa: E731
        else:
            mean = self._by_strategy(strategy, round_, ordered)
        by_rule: dict[ExchangeRule, Piece] = {
            ExchangeRule.MEAN: _finite(mean, strategy.name if strategy else "of a weighted mean"),
            ExchangeRule.MAX: lambda names, a, b: max_of(pieces(names, a, b)),
            ExchangeRule.LOCAL: partial(_own, file),
        }
        digest = file.rewrite(
            path, lambda names, a, b: by_rule[rules[names[0]]](names, a, b), kind, durable=False
        )
        self.require_unchanged()
        for update in ordered:
            update.require_unchanged()
        return GlobalModel(path, digest, self.contract)

    def _by_strategy(
        self, strategy: AggregationPort, round_: int, updates: Sequence[StoredUpdate]
    ) -> Piece:
        names = self.names(ExchangeRule.MEAN)
        if strategy.takes_mean():
            given = [_mean_update(updates, names)]
        else:
            given = [
                _client_update(update, weight, _Some(TensorFile(update.path), names))
                for update, weight in zip(updates, _weights(updates), strict=True)
            ]
        result = strategy.aggregate(round_, self.averaged(), given)
        return self._checked_result(result, strategy.name)

    def _checked_result(self, result: Tensors, strategy: str) -> Piece:
        specs = {s.name: s for s in self.contract.parameters if s.rule is ExchangeRule.MEAN}
        if result.keys() != specs.keys():
            odd = sorted(result.keys() ^ specs.keys())[0]
            raise Invalid(f"the strategy {strategy} gave other tensors than it got, e.g. '{odd}'")
        for key, array in result.items():
            if array.shape != specs[key].shape:
                raise Invalid(
                    f"the strategy {strategy} gave '{key}' the shape {list(array.shape)},"
                    f" and it is {list(specs[key].shape)} in the model"
                )

        def piece(names: Names, start: int, stop: int) -> npt.NDArray[Any]:
            (key,) = names
            with np.errstate(over="ignore"):  # what overflows is found to be infinite
                return result[key].reshape(-1)[start:stop].astype(np.dtype(specs[key].dtype))

        return piece


def _own(file: TensorFile, names: Names, start: int, stop: int) -> npt.NDArray[Any]:
    """What stays on the server as it is."""
    flat = file.flat(names)
    return flat.read(start, np.empty(stop - start, flat.dtype))


def _identity(path: Path) -> _Identity:
    """Which file it is and how it was written last; zeros when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns


class _Pieces:
    """Where the updates hold the tensors that travel. Only a piece of one of them is in memory."""

    def __init__(
        self, paths: Sequence[Path], groups: Sequence[Names], rules: Mapping[str, ExchangeRule]
    ) -> None:
        travelling = [names for names in groups if rules[names[0]] is not ExchangeRule.LOCAL]
        self._flats: dict[Names, list[FlatTensors]] = {names: [] for names in travelling}
        for path in paths:
            file = TensorFile(path)
            for names in travelling:
                self._flats[names].append(file.flat(names))

    def __call__(self, names: Names, start: int, stop: int) -> Iterator[npt.NDArray[Any]]:
        """The piece of each update, one after the other in the same memory."""
        flats = self._flats[names]
        buffer = np.empty(stop - start, flats[0].dtype)
        return (flat.read(start, buffer) for flat in flats)


class _Some(Mapping[str, npt.NDArray[Any]]):
    """Some tensors of a file, read when they are asked for and not kept."""

    def __init__(self, file: TensorFile, names: Sequence[str]) -> None:
        self._file = file
        self._names = names

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._file[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _weights(updates: Sequence[StoredUpdate]) -> list[int]:
    """The examples of each; in thousandths of one where some are to count less."""
    if all(update.factor == 1.0 for update in updates):
        return [update.checked.examples for update in updates]
    return [max(1, round(update.checked.examples * update.factor * 1_000)) for update in updates]


def _client_update(update: StoredUpdate, weight: int, tensors: TensorMap) -> ClientUpdate:
    return ClientUpdate(update.node_id, weight, dict(update.checked.metrics), tensors)


def _mean_update(updates: Sequence[StoredUpdate], names: list[str]) -> ClientUpdate:
    """One update that stands for all."""
    examples = _weights(updates)
    metrics = mean_metrics(
        [(weight, u.checked.metrics) for weight, u in zip(examples, updates, strict=True)]
    )
    mean = weighted_mean([TensorFile(u.path) for u in updates], examples, names)
    return ClientUpdate(updates[0].node_id, sum(examples), metrics, mean)


def _finite(piece: Piece, strategy: str) -> Piece:
    def checked(names: Names, start: int, stop: int) -> npt.NDArray[Any]:
        values = piece(names, start, stop)
        if bad := count_not_finite(values):
            raise Invalid(
                f"the strategy {strategy} made {bad} values of '{names[0]}' NaN or infinite"
            )
        return values

    return checked
