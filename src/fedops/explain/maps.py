"""Maps of all probes by one method: in groups, with what fails or finds no time left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedops.core.errors import Invalid
from fedops.explain import forward
from fedops.explain.base import FloatArray, Job, Maps, Method
from fedops.explain.budget import Budget, OutOfTime

Flags = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Subject:
    """What is explained: a model in evaluation mode and the probes on its device."""

    model: nn.Module
    inputs: Tensor
    absent: Tensor
    layer: nn.Module | None
    seed: int
    budget: Budget

    def job(self, rows: list[int], targets: Classes) -> Job:
        """These rows, each explained for its class."""
        return Job(
            self.model,
            self.inputs[rows],
            torch.as_tensor(targets[rows], device=self.inputs.device),
            self.absent,
            self.layer,
            self.seed,
            self.budget.check,
        )


@dataclass
class Predictions:
    """What a model says of the probes."""

    probabilities: FloatArray  #: [samples, classes]; NaN where the sample failed
    good: Flags

    @property
    def predicted(self) -> Classes:
        table = np.where(self.good[:, None], self.probabilities, 0.0)
        return np.asarray(table.argmax(1), dtype=np.int64)


@dataclass
class MapSet:
    """Raw maps of all probes by one method for one choice of classes."""

    method: str
    explains: str
    targets: Classes
    values: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    done: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))
    #: |sum - difference of scores|, relative; NaN for methods that claim no completeness.
    incomplete: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def flat(self) -> Flags:
        """Done, but the same everywhere: the map says nothing."""
        spread = np.ptp(self.values.reshape(len(self.values), -1), axis=1)
        return np.asarray(self.done & (spread == 0))

    def put(self, rows: list[int], maps: Maps) -> None:
        """Keep the maps of some rows."""
        values = maps.values.numpy()
        if not self.values.size:
            self.values = np.zeros((len(self.targets), *values.shape[1:]), np.float32)
        self.values[rows] = values
        self.done[rows] = True
        if maps.completeness is not None:
            self.incomplete[rows] = maps.completeness.numpy()


def predict(subject: Subject, notes: Callable[[int, str], None]) -> Predictions:
    """Class probabilities of all probes; a sample that fails alone is left out with a note."""
    count = len(subject.inputs)
    try:
        table = _probabilities(subject, list(range(count)))
    except OutOfTime:
        raise
    except Exception:
        table = _one_by_one(subject, notes)
    good = np.asarray(np.isfinite(table).all(axis=1))
    for row in np.flatnonzero(~good & ~np.isnan(table).all(1)):
        notes(int(row), "the model's output is not finite")
    return Predictions(table, good)


def explain(
    subject: Subject,
    method: Method,
    explains: str,
    targets: Classes,
    rows: list[int],
    notes: Callable[[int, str], None],
) -> MapSet:
    """Maps of the given rows. Ends early, with what is done, when the time is over."""
    count = len(targets)
    result = MapSet(method.name, explains, targets)
    result.done = np.zeros(count, np.bool_)
    result.incomplete = np.full(count, np.nan, np.float32)
    for start in range(0, len(rows), method.group):
        try:
            _put_group(result, subject, method, rows[start : start + method.group], notes)
        except OutOfTime:
            break
    if not result.values.size:
        result.values = np.zeros((count, 1, 1), np.float32)
    return result


def as_large_as(values: FloatArray, size: tuple[int, int], enlarge: str) -> Tensor:
    """Maps as large as the pictures [height, width]."""
    maps = torch.from_numpy(values)[:, None]
    if enlarge == "linear":
        maps = functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    else:
        maps = functional.interpolate(maps, size=size, mode="nearest")
    return maps[:, 0]


def _put_group(
    result: MapSet,
    subject: Subject,
    method: Method,
    rows: list[int],
    notes: Callable[[int, str], None],
) -> None:
    subject.budget.check()
    try:
        result.put(rows, method.explain(subject.job(rows, result.targets)))
    except OutOfTime:
        raise
    except Exception as error:
        if len(rows) == 1:
            notes(rows[0], f"{method.name} failed: {_first_line(error)}")
            return
        for row in rows:
            _put_group(result, subject, method, [row], notes)


def _probabilities(subject: Subject, rows: list[int]) -> FloatArray:
    size = forward.rows_a_pass(subject.inputs)
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), size):
            table = forward.scores(subject.model, subject.inputs[rows[start : start + size]])
            parts.append(forward.probabilities(table).cpu())
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def _one_by_one(subject: Subject, notes: Callable[[int, str], None]) -> FloatArray:
    found: dict[int, FloatArray] = {}
    last: Exception | None = None
    for row in range(len(subject.inputs)):
        try:
            found[row] = _probabilities(subject, [row])[0]
        except OutOfTime:
            raise
        except Exception as error:
            last = error
            notes(row, f"the model fails on it: {_first_line(error)}")
    if not found and last is not None:
        raise Invalid(f"the model fails on every sample: {_first_line(last)}") from last
    classes = len(next(iter(found.values())))
    table = np.full((len(subject.inputs), classes), np.nan, np.float32)
    for row, values in found.items():
        table[row] = values
    return table


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
