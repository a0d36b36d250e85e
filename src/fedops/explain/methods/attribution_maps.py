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
from fedops.explain.methods import class_scores
from fedops.explain.methods.base import FloatArray, Job, Maps, Method
from fedops.explain.methods.time_budget import Budget, OutOfTime

Flags = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.int64]
#: Says why a sample is left out.
Note = Callable[[int, str], None]


@dataclass(frozen=True)
class Subject:
    """What is explained: a model in evaluation mode and the probes on its device."""

    model: nn.Module
    inputs: Tensor
    absent: Tensor
    layer: nn.Module | None
    seed: int
    budget: Budget

    def job(self, rows: list[int], targets: Classes, *, rough: bool = False) -> Job:
        """These rows, each explained for its class."""
        return Job(
            self.model,
            self.inputs[rows],
            torch.as_tensor(targets[rows], device=self.inputs.device),
            self.absent,
            self.layer,
            self.seed,
            rough,
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

    def take_over(self, other: MapSet) -> None:
        """Maps that another set has for the same class."""
        same = other.done & (other.targets == self.targets)
        self.values = np.where(same[:, None, None], other.values, np.float32(0))
        self.done = same.copy()
        self.incomplete = np.where(same, other.incomplete, np.float32(np.nan))

    def put(self, rows: list[int], maps: Maps) -> None:
        """Keep the maps of some rows."""
        values = maps.values.numpy()
        if self.values.shape[1:] != values.shape[1:]:
            self.values = np.zeros((len(self.targets), *values.shape[1:]), np.float32)
        self.values[rows] = values
        self.done[rows] = True
        if maps.completeness is not None:
            self.incomplete[rows] = maps.completeness.numpy()


def predict(subject: Subject, note: Note) -> Predictions:
    """Class probabilities of all probes; a sample that fails alone is left out with a note."""
    failed: list[int] = []
    try:
        table = _probabilities(subject, list(range(len(subject.inputs))))
    except OutOfTime:
        raise
    except Exception:
        table = _one_by_one(subject, note, failed)
    good = np.asarray(np.isfinite(table).all(axis=1))
    for row in np.flatnonzero(~good):
        if row not in failed:
            note(int(row), "the model's output is not finite")
    return Predictions(table, good)


def explain_in_time(
    subject: Subject,
    method: Method,
    targets: Classes,
    good: Flags,
    note: Note,
    known: MapSet | None = None,
) -> MapSet:
    """Maps of the good samples. Ends early, with what is done, when the time is over.

    Maps of ``known`` are taken over for samples whose class is the same.
    """
    result = MapSet(targets)
    result.done = np.zeros(len(targets), np.bool_)
    result.incomplete = np.full(len(targets), np.nan, np.float32)
    if known is not None:
        result.take_over(known)
    rows = [int(row) for row in np.flatnonzero(good & ~result.done)]
    for start in range(0, len(rows), method.group):
        try:
            _put_group(result, subject, method, rows[start : start + method.group], note)
        except OutOfTime:
            break
    if not result.values.size:
        result.values = np.zeros((len(targets), 1, 1), np.float32)
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
    note: Note,
) -> None:
    subject.budget.check()
    try:
        result.put(rows, method.explain(subject.job(rows, result.targets)))
    except OutOfTime:
        raise
    except Exception as error:
        if len(rows) == 1:
            note(rows[0], f"{method.name} failed: {_first_line(error)}")
            return
        for row in rows:
            _put_group(result, subject, method, [row], note)


def _probabilities(subject: Subject, rows: list[int]) -> FloatArray:
    size = class_scores.rows_a_pass(subject.inputs)
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), size):
            table = class_scores.scores(subject.model, subject.inputs[rows[start : start + size]])
            parts.append(class_scores.probabilities(table).cpu())
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def _one_by_one(subject: Subject, note: Note, failed: list[int]) -> FloatArray:
    found: dict[int, FloatArray] = {}
    last: Exception | None = None
    for row in range(len(subject.inputs)):
        try:
            found[row] = _probabilities(subject, [row])[0]
        except OutOfTime:
            raise
        except Exception as error:
            last = error
            failed.append(row)
            note(row, f"the model fails on it: {_first_line(error)}")
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
