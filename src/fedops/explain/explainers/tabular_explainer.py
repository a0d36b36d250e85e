"""A model of tables explained, round after round, on the probes of this device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list
from fedops.explain.explainers import probe_sets
from fedops.explain.explainers.options import Options
from fedops.explain.methods.base import FloatArray
from fedops.explain.methods.instrumented_model import Bench, Weights
from fedops.explain.methods.optional_libraries import library
from fedops.explain.methods.rounding import rounded
from fedops.explain.methods.tabular import (
    LIBRARIES,
    METHODS,
    Array,
    TableJob,
    classes,
    predictor,
    select_columns,
)
from fedops.explain.methods.time_budget import Budget, OutOfTime
from fedops.explain.quality import faithfulness, map_quality
from fedops.explain.quality.faithfulness import LIGHT, Effort
from fedops.explain.quality.history import Key, Raw, Snapshot
from fedops.explain.quality.map_quality import SANE

REFERENCE = 256


@dataclass
class TableFindings:
    """All that was computed in one round."""

    models: list[str]
    said: dict[str, Array] = field(default_factory=dict)
    maps: dict[Key, Raw] = field(default_factory=dict)
    quality: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool = True


class TableExplainer:
    """Computes; knows nothing of folders and pictures. Everything is checked when it is made."""

    layer = ""

    def __init__(self, model: Any, options: Options, data: Any, numbers: bool) -> None:
        wrong = [name for name in options.methods if name not in METHODS]
        if wrong:
            raise Invalid(
                f"{comma_list(wrong)} explains images, and the samples of this task are rows of a table; "
                f"choose from {comma_list(METHODS)} as xai.methods"
            )
        for name in options.methods:
            library(LIBRARIES[name])
        self.options, self.numbers = options, numbers
        self.probes = probe_sets.choose_probes(
            data, options.samples, options.seed, classes=not numbers
        )
        self._reference = probe_sets.choose_probes(
            data, REFERENCE, options.seed + 1, classes=not numbers
        )
        self._named = classes(model)
        self._bench = Bench(model) if isinstance(model, nn.Module) else None
        self._columns(model, self._reference.labels)
        self._predict_checked(model)
        self.features = int(self.probes.inputs.shape[1])

    def compute(
        self, weights: Mapping[str, Any], budget: Budget, effort: Effort | None
    ) -> TableFindings:
        """Explain each of the models, then measure how good the explanations are, in time."""
        found = TableFindings(list(weights))
        try:
            for name, values in weights.items():
                self._explain(name, self._take(values), found, budget)
            for name in faithfulness.measured(found.models, effort):
                model = self._take(weights[name])
                self._measure(name, model, found, budget, effort or LIGHT)
        except OutOfTime:
            found.complete = False
        return found

    def snapshot(self, found: TableFindings) -> Snapshot:
        """The raw values, to be kept."""
        return Snapshot(self.probes.digest, "", self.probes.indices, found.maps)

    @property
    def yardstick(self) -> str:
        """The method whose changes raise alarms."""
        return self.options.methods[0]

    def label(self, column: int) -> int:
        """The class that an output stands for."""
        return column if self._named is None else int(self._named[column])

    def _take(self, weights: Weights | Any) -> Any:
        """The model with these weights. Estimators are explained as they are given."""
        if self._bench is None:
            if isinstance(weights, Mapping):
                raise Invalid("give the fitted estimator itself: tensors alone make none")
            return weights
        self._bench.load(weights)
        return self._bench.model

    def _predict_checked(self, model: Any) -> None:
        try:
            predictor(model if self._bench is None else self._bench.model, numbers=self.numbers)(
                self.probes.inputs[:1].numpy()
            )
        except (RuntimeError, ValueError, TypeError) as error:
            raise Invalid(
                f"the model does not accept a row of {self.probes.inputs.shape[1]} features: {error}"
            ) from None

    def _columns(self, model: Any, labels: Array) -> Array:
        """Which output stands for each label."""
        named = classes(model)
        if self.numbers:
            return np.zeros(len(labels), dtype=np.int64)
        if named is None:
            return labels.astype(np.int64)
        unknown = sorted({float(one) for one in labels} - set(named))
        if unknown:
            raise Invalid(f"the model knows no class {unknown[0]:g}; it was fitted for {named}")
        return np.array([named.index(float(one)) for one in labels], dtype=np.int64)

    def _explain(self, name: str, model: Any, found: TableFindings, budget: Budget) -> None:
        budget.check()
        said = predictor(model, numbers=self.numbers)(self.probes.inputs.numpy())
        found.said[name] = said
        job = self._job(model, budget)
        for method in self.options.methods:
            values = METHODS[method](job)
            for role in dict.fromkeys((*self.options.roles, "true")):
                columns = self._targets(model, said, role)
                found.maps[name, method, role] = _raw(values, columns)

    def _targets(self, model: Any, said: Array, role: str) -> Array:
        best = np.asarray(said.argmax(1), dtype=np.int64)
        return best if role == "predicted" else self._columns(model, self.probes.labels)

    def _job(self, model: Any, budget: Budget) -> TableJob:
        labels = self._reference.labels
        return TableJob(
            predictor(model, numbers=self.numbers),
            self.probes.inputs.numpy(),
            self._reference.inputs.numpy(),
            labels if self.numbers else self._columns(model, labels),
            self.numbers,
            self.options.seed,
            budget.check,
        )

    def _measure(
        self, name: str, model: Any, found: TableFindings, budget: Budget, effort: Effort
    ) -> None:
        job = self._job(model, budget)
        columns = self._targets(model, found.said[name], self.options.roles[0])
        for method in self.options.methods:
            budget.check()
            raw = found.maps[name, method, self.options.roles[0]]
            measures = found.quality.setdefault(name, {}).setdefault(method, {})
            measures["samples"] = len(self.probes)
            if not self.numbers:
                measures |= _faithful(job, columns, raw, effort)
            if self._bench is not None:
                measures |= self._sane(method, columns, raw, job)

    def _sane(self, method: str, columns: Array, raw: Raw, job: TableJob) -> dict[str, Any]:
        assert self._bench is not None

        def again() -> FloatArray:
            return np.asarray(select_columns(METHODS[method](job), columns), np.float32)

        score = map_quality.cascade(
            self._bench.model, again, raw.values, [job.seed], every_layer=False
        )[-1]
        return {"sanity": round(score, 6), "sane": score <= SANE}


def _raw(values: Array, columns: Array) -> Raw:
    chosen = select_columns(values, columns)
    targets = columns if len(chosen) == len(columns) else np.zeros(1, np.int64)
    return Raw(chosen, targets, np.ones(len(chosen), np.bool_))


def _faithful(job: TableJob, columns: Array, raw: Raw, effort: Effort) -> dict[str, float]:
    """Deletion and insertion of features: absent ones have the mean of the reference set."""
    rows = torch.from_numpy(job.rows).double()[:, None, None, :]
    fill = torch.from_numpy(job.reference).double().mean(0).expand_as(rows)
    values = torch.from_numpy(np.array(np.broadcast_to(raw.values, job.rows.shape)))
    predict = _chance(job, columns)

    def areas(order: Tensor) -> Tensor:
        both = faithfulness.deletion_and_insertion(predict, rows, fill, order, effort.steps)
        return torch.stack([area.mean() for area in both])

    mine = areas(faithfulness.ranked(values))
    orders = [
        areas(faithfulness.shuffled(len(rows), rows.shape[-1], job.seed + number))
        for number in range(effort.random_orders)
    ]
    chance = torch.stack(orders).mean(0)
    return rounded(
        {
            "deletion": float(mine[0]),
            "deletion_random": float(chance[0]),
            "insertion": float(mine[1]),
            "insertion_random": float(chance[1]),
        }
    )


def _chance(job: TableJob, columns: Array) -> Callable[[Tensor, Tensor], Tensor]:
    """p(class to explain) of rows that are shaped as pictures."""

    def predict(rows: Tensor, which: Tensor) -> Tensor:
        said = torch.from_numpy(job.asked(rows[:, 0, 0, :].numpy()))
        return said[torch.arange(len(said)), torch.from_numpy(columns)[which]]

    return predict
