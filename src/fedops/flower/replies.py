"""Checking a client's reply before anything is done with it: one sentence for whatever is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Message

from fedops.core.contracts import ParameterContract, ParameterSpec
from fedops.core.errors import Invalid
from fedops.flower.messages import (
    EVAL_METRICS,
    METRICS,
    Measured,
    ReplyHead,
    decode_head,
    decode_measured,
    packed_pieces,
)
from fedops.storage.atomic_files import atomic_file
from fedops.storage.tensors import PIECE, TensorFile


class Refusal(Exception):
    """The device says that it cannot take part in this run."""


class Breakdown(Exception):
    """The device, or the way to it, failed this time."""


@dataclass(frozen=True)
class Expected:
    """What a reply must fit."""

    device: str
    run_id: int
    attempt: int
    round: int
    contract: ParameterContract
    trains: bool = True  #: whether tensors are expected; else metrics only


@dataclass(frozen=True)
class Checked:
    """A reply that passed: without its tensors, which are on disk by then."""

    head: ReplyHead
    trained: Measured | None
    evaluated: Measured | None
    bytes_up: int

    @property
    def device(self) -> str:
        return self.head.device

    @property
    def examples(self) -> int:
        return self.trained.examples if self.trained else 0

    @property
    def seconds(self) -> float:
        return self.head.train_seconds + self.head.evaluate_seconds

    @property
    def metrics(self) -> dict[str, float]:
        """All its metrics: those of the received model with the prefix ``eval_``."""
        own = dict(self.trained.metrics) if self.trained else {}
        seen = self.evaluated.metrics if self.evaluated else {}
        return own | {f"eval_{name}": value for name, value in seen.items()}


def take_in(message: Message, expected: Expected, path: Path) -> Checked:
    """Check a reply and put its tensors in a file (none when it was to evaluate only).

    Raises:
        Refusal: the device cannot take part in the run.
        Breakdown: it failed this time.
        Invalid: the reply is wrong, with the device and what is wrong named.
    """
    if message.has_error():
        raise Breakdown(message.error.reason or "it failed without a word")
    try:
        return _take_in(message, expected, path)
    except Invalid as error:
        raise Invalid(f"the reply of device '{expected.device}' is refused: {error}") from None


def _take_in(message: Message, expected: Expected, path: Path) -> Checked:
    content = message.content
    head = decode_head(content)
    _check_origin(head, expected)
    if head.refused:
        raise Refusal(head.refused)
    evaluated = decode_measured(content, EVAL_METRICS)
    if not expected.trains:
        return Checked(head, None, evaluated, 0)
    trained = decode_measured(content, METRICS)
    if trained is None:
        raise Invalid("it does not say how many examples it was trained on")
    pieces = packed_pieces(content)
    with atomic_file(path, durable=False) as file:
        file.writelines(pieces)
        file.flush()
        check_tensors(_opened(Path(file.name)), expected.contract)
    return Checked(head, trained, evaluated, sum(map(len, pieces)))


def _opened(path: Path) -> TensorFile:
    try:
        return TensorFile(path)
    except Invalid as error:
        text = str(error).partition(": ")[2]
        raise Invalid(f"it does not hold complete safetensors data: {text}") from None


def _check_origin(head: ReplyHead, expected: Expected) -> None:
    for what, got, wanted in (
        ("device", head.device, expected.device),
        ("run", head.run_id, expected.run_id),
        ("attempt", head.attempt, expected.attempt),
        ("round", head.round, expected.round),
    ):
        if got != wanted:
            raise Invalid(f"it is for {what} {got!r}, and {what} {wanted!r} was asked")
    if head.fingerprint != expected.contract.fingerprint and not head.refused:
        raise Invalid(
            f"its model has the fingerprint '{head.fingerprint}',"
            f" the run's has '{expected.contract.fingerprint}'"
        )


def check_tensors(file: TensorFile, contract: ParameterContract) -> None:
    """Exactly the tensors of the contract that travel, each with its shape and dtype, all finite."""
    specs = {spec.name: spec for spec in contract.federated}
    if unknown := sorted(file.keys() - specs.keys()):
        raise Invalid(f"it holds '{unknown[0]}', which is no exchanged tensor of the model")
    for name, spec in specs.items():
        if name not in file:
            raise Invalid(f"it lacks '{name}', which is {_described(spec)} in the model")
        _check_tensor(file, spec)


def _check_tensor(file: TensorFile, spec: ParameterSpec) -> None:
    dtype, shape = file.dtype(spec.name).name, file.shape(spec.name)
    if (dtype, shape) != (spec.dtype, spec.shape):
        got = f"{dtype}{list(shape)}"
        raise Invalid(f"'{spec.name}' is {got} in it and {_described(spec)} in the model")
    size = math.prod(shape)
    pieces = (file.piece(spec.name, i, i + PIECE) for i in range(0, size, PIECE))
    if bad := sum(count_not_finite(piece) for piece in pieces):
        raise Invalid(f"{bad} of {size} values of '{spec.name}' are NaN or infinite")


def count_not_finite(values: npt.NDArray[Any]) -> int:
    """How many values are NaN or infinite."""
    if values.dtype.kind in "iub":
        return 0
    return values.size - int(np.count_nonzero(np.isfinite(values)))


def _described(spec: ParameterSpec) -> str:
    return f"{spec.dtype}{list(spec.shape)}"
