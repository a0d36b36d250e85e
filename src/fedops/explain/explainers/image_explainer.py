"""An image classifier explained, round after round, on the probes of this device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.explain.explainers.options import Options
from fedops.explain.explainers.probe_sets import Probes
from fedops.explain.methods import (
    attribution_maps,
    class_scores,
    instrumented_model,
    registry,
    target_layer,
)
from fedops.explain.methods.attribution_maps import MapSet, Predictions, Subject
from fedops.explain.methods.base import Method
from fedops.explain.methods.cam import Cam, layercam
from fedops.explain.methods.instrumented_model import Bench, Weights
from fedops.explain.methods.time_budget import Budget, OutOfTime
from fedops.explain.quality.faithfulness import LIGHT, Effort, measured
from fedops.explain.quality.history import Key, Raw, Snapshot
from fedops.explain.quality.map_quality import quality

#: Drift is watched on LayerCAM: of all maps it changes least from one seed of training to another.
_WATCHED = Cam("layercam", layercam)


@dataclass
class Findings:
    """All that was computed in one round, before it is drawn and written."""

    models: list[str]
    predictions: dict[str, Predictions] = field(default_factory=dict)
    maps: dict[Key, MapSet] = field(default_factory=dict)
    quality: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool = True


class ImageExplainer:
    """Computes; knows nothing of folders and pictures. Everything is checked when it is made."""

    def __init__(self, model: nn.Module, options: Options, found: Probes) -> None:
        self.options = options
        self.methods = [registry.make(name) for name in options.methods]
        self._bench = Bench(model)
        sample = class_scores.placed(self._bench.model, found.inputs[:1])
        self.probes = _usable(found, class_scores.count_classes(self._bench.model, sample))
        self.layer, self._layer = self._resolve(sample)
        self._inputs = class_scores.placed(self._bench.model, self.probes.inputs)
        self._absent = self._inputs.amin((0, 2, 3), keepdim=True)

    def compute(
        self, weights: Mapping[str, Weights], budget: Budget, effort: Effort | None
    ) -> Findings:
        """Explain each of the models, then measure how good the maps are, while there is time.

        Without an effort the quality is not measured.
        """
        found = Findings(list(weights))
        with instrumented_model.watched(self._bench.model, budget.check):
            try:
                for name, values in weights.items():
                    self._bench.load(values)
                    self._explain(name, found, budget)
                for name in measured(found.models, effort):
                    self._bench.load(weights[name])
                    self._measure(name, found, budget, effort or LIGHT)
            except OutOfTime:
                found.complete = False
        return found

    @property
    def yardstick(self) -> str:
        """The method whose changes raise alarms: LayerCAM where there is a layer, for it is steady."""
        return _WATCHED.name if self._layer is not None else self.methods[0].name

    def snapshot(self, found: Findings) -> Snapshot:
        """The raw maps, to be kept."""
        raws = {key: Raw(one.values, one.targets, one.done) for key, one in found.maps.items()}
        return Snapshot(self.probes.digest, self.layer, self.probes.indices, raws)

    def _resolve(self, sample: Tensor) -> tuple[str, nn.Module | None]:
        if not any(method.needs_layer for method in self.methods):
            return "", None
        wanted = self.options.layer, self.options.target_layer_index
        return target_layer.resolve(self._bench.model, sample, *wanted)

    def _subject(self, budget: Budget) -> Subject:
        return Subject(
            self._bench.model, self._inputs, self._absent, self._layer, self.options.seed, budget
        )

    def _explain(self, name: str, found: Findings, budget: Budget) -> None:
        note = _noter(found, name, self.probes)
        subject = self._subject(budget)
        said = attribution_maps.predict(subject, note)
        found.predictions[name] = said
        for method in self.methods:
            self._explain_by(name, method, self.options.roles, found, subject, note)
        found.notes += _flat_notes(name, self.options.roles, found.maps)
        if self._layer is not None and _WATCHED.name not in self.options.methods:
            self._explain_by(name, _WATCHED, (), found, subject, note)

    def _explain_by(
        self,
        name: str,
        method: Method,
        roles: Sequence[str],
        found: Findings,
        subject: Subject,
        note: attribution_maps.Note,
    ) -> None:
        """The classes asked for, and the true one besides: it is what drift is seen on."""
        said = found.predictions[name]
        targets = {"predicted": said.predicted, "true": self.probes.labels}
        done: MapSet | None = None
        for role in dict.fromkeys((*roles, "true")):
            done = attribution_maps.explain_in_time(
                subject, method, targets[role], said.good, note, done
            )
            found.maps[name, method.name, role] = done

    def _measure(self, name: str, found: Findings, budget: Budget, effort: Effort) -> None:
        budget.check()
        for method in self.methods:
            maps_ = found.maps[name, method.name, self.options.roles[0]]
            result = quality(self._subject(budget), method, maps_, effort)
            found.quality.setdefault(name, {})[method.name] = result.measures
            found.complete &= result.complete


def _usable(found: Probes, classes: int) -> Probes:
    """The probes whose label is a class of the model."""
    keep = [row for row, label in enumerate(found.labels) if label < classes]
    lost = len(found) - len(keep)
    if not keep:
        raise Invalid(
            f"no sample's label is one of the model's {classes} classes (0 to {classes - 1})"
        )
    note = f"{lost} samples skipped: their label is none of the model's {classes} classes"
    return found.only(keep, note) if lost else found


def _noter(found: Findings, model: str, chosen: Probes) -> attribution_maps.Note:
    def note(row: int, text: str) -> None:
        found.notes.append(f"sample {chosen.indices[row]} skipped for the {model} model: {text}")

    return note


def _flat_notes(model: str, roles: Sequence[str], found: Mapping[Key, MapSet]) -> list[str]:
    lines = []
    for (name, method, role), one in found.items():
        count = int(one.flat.sum())
        if name == model and role in roles and count:
            lines.append(
                f"{count} of {int(one.done.sum())} {method} maps of the {model} model ({role} class) "
                "are flat: nothing at this layer speaks for the class"
            )
    return lines
