"""Checking a client's update before anything is done with it: one sentence for whatever is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.contracts import ParameterContract, ParameterSpec
from fedops.core.contracts.training import (
    ARRAYS,
    EVAL_METRICS,
    HEADER,
    METRICS,
    ClientMetrics,
    UpdateHeader,
)
from fedops.core.errors import Invalid
from fedops.storage.payloads import Document, read_document, values_of
from fedops.storage.tensors import PIECE, TensorFile

#: What an update may have beside its tensors: its document, a row of the header for each tensor. Bytes.
_DOCUMENT_BYTES, _ROW_BYTES = 256 * 1024, 512
#: No part of a round takes longer.
_MOST_SECONDS = 30 * 86_400.0


class ClientRefused(Exception):
    """The device says that it cannot take part in this run."""


@dataclass(frozen=True)
class ExpectedUpdate:
    """What an update must fit."""

    device: str
    run_id: int
    round: int
    contract: ParameterContract
    trains: bool = True  #: whether tensors are expected; else metrics only
    #: The model that it was made from, to tell how far it went.
    before: TensorFile | None = None


@dataclass(frozen=True)
class UpdateRecords:
    """What an update says beside its tensors, as it came."""

    header: Mapping[str, Any]
    trained: Mapping[str, Any] | None = None
    evaluated: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class CheckedUpdate:
    """An update that passed, without its tensors: they stay on disk."""

    header: UpdateHeader
    trained: ClientMetrics | None
    evaluated: ClientMetrics | None
    bytes_up: int
    #: The L2 norm of what it changed in the model's floating-point tensors; None: not measured.
    norm: float | None = None

    @property
    def device(self) -> str:
        return self.header.device

    @property
    def examples(self) -> int:
        return self.trained.examples if self.trained else 0

    @property
    def seconds(self) -> float:
        """By its own word, and without the network: selection goes by the server's clock instead."""
        return self.header.train_seconds + self.header.evaluate_seconds

    @property
    def metrics(self) -> dict[str, float]:
        """All its metrics: those of the received model with the prefix ``eval_``."""
        own = dict(self.trained.metrics) if self.trained else {}
        seen = self.evaluated.metrics if self.evaluated else {}
        return own | {f"eval_{name}": value for name, value in seen.items()}


def max_bytes_of(contract: ParameterContract) -> int:
    """How large an update of this model may be, as a file that is not encoded. Bytes."""
    sizes = (math.prod(s.shape) * np.dtype(s.dtype).itemsize for s in contract.federated)
    rows = sum(_ROW_BYTES + 12 * len(spec.name.encode()) for spec in contract.federated)
    return sum(sizes) + rows + _DOCUMENT_BYTES


def accept_update(path: Path, expected: ExpectedUpdate, bytes_up: int) -> CheckedUpdate:
    """Check what a client delivered: a payload file.

    Raises:
        ClientRefused: the device cannot take part in the run.
        Invalid: the update is wrong, with the device and what is wrong named.
    """
    with_device = f"the reply of device '{expected.device}' is refused"
    try:
        file = open_tensors(path)
        document = read_document(file)
        checked = check_records(_records_of(document), expected, bytes_up)
        if expected.trains and not checked.header.evaluates_only:
            _check_layout(document)
            norm = check_tensors(file, expected.contract, expected.before)
            checked = replace(checked, norm=norm)
        return checked
    except Invalid as error:
        raise Invalid(f"{with_device}: {error}") from None


def _records_of(document: Document) -> UpdateRecords:
    return UpdateRecords(
        header=values_of(document, HEADER, "config") or {},
        trained=values_of(document, METRICS, "metric"),
        evaluated=values_of(document, EVAL_METRICS, "metric"),
    )


def _check_layout(document: Document) -> None:
    arrays = {n: r for n, r in document["records"].items() if r["type"] == "array"}
    if arrays.keys() != {ARRAYS}:
        raise Invalid(f"it must hold the arrays of '{ARRAYS}' and no others")
    record = arrays[ARRAYS]
    renamed = [name for key, name in record["tensors"] if key != name]
    if renamed or "raw" in record or "blob" in record:
        raise Invalid(f"the arrays of '{ARRAYS}' are not stored as tensors under their own names")


def check_records(records: UpdateRecords, expected: ExpectedUpdate, bytes_up: int) -> CheckedUpdate:
    """Check what an update says of itself: who made it, for what, of how many examples.

    Raises:
        ClientRefused: the device cannot take part in the run.
        Invalid: with what is wrong.
    """
    header = UpdateHeader.from_values(records.header)
    _check_origin(header, expected)
    if header.refused:
        raise ClientRefused(header.refused)
    _check_seconds(header)
    evaluated = _metrics(records.evaluated)
    if not expected.trains or header.evaluates_only:
        return CheckedUpdate(header, None, evaluated, bytes_up)
    trained = _metrics(records.trained)
    if trained is None:
        raise Invalid("it does not say how many examples it was trained on")
    return CheckedUpdate(header, trained, evaluated, bytes_up)


def _check_seconds(header: UpdateHeader) -> None:
    for what, seconds in (("train", header.train_seconds), ("evaluate", header.evaluate_seconds)):
        if not 0.0 <= seconds <= _MOST_SECONDS:
            raise Invalid(f"it took {seconds:g} s to {what}, by its own word")


def _metrics(record: Mapping[str, Any] | None) -> ClientMetrics | None:
    return None if record is None else ClientMetrics.from_values(record)


def open_tensors(path: Path) -> TensorFile:
    """A delivered file. ``Invalid`` when it is no safetensors file, without the server's path."""
    try:
        return TensorFile(path)
    except Invalid as error:
        text = str(error).partition(": ")[2]
        raise Invalid(f"it does not hold complete safetensors data: {text}") from None


def _check_origin(header: UpdateHeader, expected: ExpectedUpdate) -> None:
    for what, got, wanted in (
        ("device", header.device, expected.device),
        ("run", header.run_id, expected.run_id),
        ("round", header.round, expected.round),
    ):
        if got != wanted:
            raise Invalid(f"it is for {what} {got!r}, and {what} {wanted!r} was asked")
    if header.fingerprint != expected.contract.fingerprint and not header.refused:
        raise Invalid(
            f"its model has the fingerprint '{header.fingerprint}',"
            f" the run's has '{expected.contract.fingerprint}'"
        )


def check_tensors(
    file: TensorFile, contract: ParameterContract, before: TensorFile | None = None
) -> float | None:
    """Exactly the tensors of the contract that travel, each with its shape and dtype, all finite.

    Returns the L2 norm of their difference to ``before``, in one pass over both.
    """
    specs = {spec.name: spec for spec in contract.federated}
    if unknown := sorted(file.keys() - specs.keys()):
        raise Invalid(f"it holds '{unknown[0]}', which is no exchanged tensor of the model")
    for name, spec in specs.items():
        if name not in file:
            raise Invalid(f"it lacks '{name}', which is {_described(spec)} in the model")
        dtype, shape = file.dtype(name).name, file.shape(name)
        if (dtype, shape) != (spec.dtype, spec.shape):
            got = f"{dtype}{list(shape)}"
            raise Invalid(f"'{name}' is {got} in it and {_described(spec)} in the model")
    squares = 0.0
    for names in file.neighbours(lambda _: None):
        bad, square = _look(file, names, before)
        if bad:
            _blame_one(file, names)
        squares += square
    return None if before is None else math.sqrt(squares)


def _look(
    file: TensorFile, names: tuple[str, ...], before: TensorFile | None = None
) -> tuple[int, float]:
    """How many of their values are NaN or infinite, and the squared distance to ``before``."""
    flat = file.flat(names)
    if flat.dtype.kind in "iub":
        return 0, 0.0
    old = before.flat(names) if before is not None else None
    buffer, other = (np.empty(min(PIECE, flat.size), flat.dtype) for _ in range(2))
    bad, squares = 0, 0.0
    for start in range(0, flat.size, PIECE):
        piece = flat.read(start, buffer[: flat.size - start])
        bad += count_not_finite(piece)
        if old is not None:
            squares += _squared_distance(piece, old.read(start, other[: flat.size - start]))
    return bad, squares


def _squared_distance(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Infinite when it is too large to be told. ``b`` is overwritten where that saves memory."""
    with np.errstate(over="ignore", invalid="ignore"):
        if a.dtype in (np.float32, np.float64):
            difference = np.subtract(a, b, out=b)
        else:  # float16 and bfloat16 have too little range for a square
            difference = a.astype(np.float32) - b.astype(np.float32)
        return float(abs(np.vdot(difference, difference)))


def _blame_one(file: TensorFile, names: tuple[str, ...]) -> None:
    for name in names:
        bad, _ = _look(file, (name,))
        if bad:
            raise Invalid(
                f"{bad} of {file.flat([name]).size} values of '{name}' are NaN or infinite"
            )


def count_not_finite(values: npt.NDArray[Any]) -> int:
    """How many values are NaN or infinite."""
    if values.dtype.kind in "iub":
        return 0
    return values.size - int(np.count_nonzero(np.isfinite(values)))


def _described(spec: ParameterSpec) -> str:
    return f"{spec.dtype}{list(spec.shape)}"
