"""The global model between two rounds: a file, of which memory holds only what is being worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord

from fedops.algorithms.aggregation import max_of, mean_metrics, mean_of, weighted_mean
from fedops.core.contracts import ExchangeRule, ParameterContract
from fedops.core.errors import Invalid
from fedops.flower.messages import in_pieces, packed_record, pieces_of_file
from fedops.flower.replies import Checked, count_not_finite
from fedops.flower.strategies import Contribution, RunStrategy
from fedops.storage.tensors import TensorFile, Tensors, pack

Piece = Callable[[str, int, int], npt.NDArray[Any]]


@dataclass(frozen=True)
class Spooled:
    """A checked reply whose tensors wait on disk."""

    checked: Checked
    node_id: int
    path: Path

    @property
    def device(self) -> str:
        return self.checked.device


@dataclass(frozen=True)
class GlobalModel:
    """All tensors of the contract; the local ones at the server's value."""

    path: Path
    sha256: str
    contract: ParameterContract

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
        return TensorFile(self.path)

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def record(self) -> ArrayRecord:
        """The tensors that travel, as they do."""
        federated = [spec.name for spec in self.contract.federated]
        file = self.file
        if set(federated) == set(file):
            return packed_record(pieces_of_file(self.path))
        return packed_record(in_pieces(pack({name: file[name] for name in federated})))

    def averaged(self) -> Tensors:
        """The tensors that strategies work on."""
        file = self.file
        return {name: file[name] for name in self.names(ExchangeRule.MEAN)}

    def names(self, rule: ExchangeRule) -> list[str]:
        return [spec.name for spec in self.contract.parameters if spec.rule is rule]

    def next(
        self, path: Path, round_: int, strategy: RunStrategy, replies: Sequence[Spooled]
    ) -> GlobalModel:
        """The model that the strategy makes of the replies, in the order of their devices' names.

        Raises:
            Invalid: the strategy failed, or what it made holds NaN or infinite values.
        """
        ordered = sorted(replies, key=lambda reply: reply.device)
        updates = [TensorFile(reply.path) for reply in ordered]
        weights = [reply.checked.examples for reply in ordered]
        if strategy.is_plain_mean():
            mean = _pieces(updates, lambda pieces: mean_of(pieces, weights))
        else:
            mean = self._by_strategy(strategy, round_, ordered, updates)
        by_rule: dict[ExchangeRule, Piece] = {
            ExchangeRule.MEAN: _finite(mean, strategy.name),
            ExchangeRule.MAX: _pieces(updates, max_of),
            ExchangeRule.LOCAL: self.file.piece,
        }
        rules = {spec.name: spec.rule for spec in self.contract.parameters}
        digest = self.file.rewrite(path, lambda name, a, b: by_rule[rules[name]](name, a, b))
        return GlobalModel(path, digest, self.contract)

    def _by_strategy(
        self,
        strategy: RunStrategy,
        round_: int,
        replies: Sequence[Spooled],
        updates: Sequence[TensorFile],
    ) -> Piece:
        names = self.names(ExchangeRule.MEAN)
        if strategy.kind.given == "mean":
            contributions = [_mean_contribution(replies, updates, names)]
        else:
            contributions = [
                _contribution(reply, _Some(update, names))
                for reply, update in zip(replies, updates, strict=True)
            ]
        result = strategy.aggregate(round_, self.averaged(), contributions)
        return self._checked_result(result, strategy.name)

    def _checked_result(self, result: Tensors, name: str) -> Piece:
        specs = {s.name: s for s in self.contract.parameters if s.rule is ExchangeRule.MEAN}
        if result.keys() != specs.keys():
            odd = sorted(result.keys() ^ specs.keys())[0]
            raise Invalid(f"the strategy {name} gave other tensors than it got, e.g. '{odd}'")
        for key, array in result.items():
            if array.shape != specs[key].shape:
                raise Invalid(
                    f"the strategy {name} gave '{key}' the shape {list(array.shape)},"
                    f" and it is {list(specs[key].shape)} in the model"
                )

        def piece(key: str, start: int, stop: int) -> npt.NDArray[Any]:
            with np.errstate(over="ignore"):  # what overflows is found to be infinite
                return result[key].reshape(-1)[start:stop].astype(np.dtype(specs[key].dtype))

        return piece


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


def _contribution(reply: Spooled, tensors: Mapping[str, npt.NDArray[Any]]) -> Contribution:
    return Contribution(reply.node_id, reply.checked.examples, dict(reply.checked.metrics), tensors)


def _mean_contribution(
    replies: Sequence[Spooled], updates: Sequence[TensorFile], names: list[str]
) -> Contribution:
    """One reply that stands for all."""
    examples = [reply.checked.examples for reply in replies]
    metrics = mean_metrics([(r.checked.examples, r.checked.metrics) for r in replies])
    mean = weighted_mean(updates, examples, names)
    return Contribution(replies[0].node_id, sum(examples), metrics, mean)


def _pieces(updates: Sequence[TensorFile], combine: Callable[[Any], npt.NDArray[Any]]) -> Piece:
    return lambda name, start, stop: combine(u.piece(name, start, stop) for u in updates)


def _finite(piece: Piece, strategy: str) -> Piece:
    def checked(name: str, start: int, stop: int) -> npt.NDArray[Any]:
        values = piece(name, start, stop)
        if bad := count_not_finite(values):
            raise Invalid(f"the strategy {strategy} made {bad} values of '{name}' NaN or infinite")
        return values

    return checked
