"""One job from its files to its scores: what the scoring process does with the app."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from fedops.algorithms.contribution.contribution_history import ClientContribution
from fedops.algorithms.contribution.estimate import Estimate
from fedops.algorithms.contribution.round_scoring import RoundScores as Found
from fedops.algorithms.contribution.round_scoring import RoundUpdates, score_round
from fedops.algorithms.inner_products import compared_names
from fedops.algorithms.integrity.findings import Finding
from fedops.algorithms.integrity.judging import Judgement
from fedops.core.contracts import (
    ClientScore,
    ClientStanding,
    IntegrityFinding,
    RoundScores,
    ScoringPlan,
)
from fedops.engine.scoring.scorer import UpdateFile
from fedops.engine.scoring.scoring_plan import AUTO, DIRECTIONS, LEAST_EXAMPLES
from fedops.flower.scoring.coalition_files import build_coalitions, model_before
from fedops.flower.scoring.error_sentence import error_sentence
from fedops.flower.scoring.scored_history import ScoredHistory
from fedops.flower.scoring.uncut_data import fitted
from fedops.flower.scoring.validation import EvaluationFailed, Measure, Validation
from fedops.flower.scoring.validation_directions import directions_at
from fedops.flower.scoring.values_by_clients import value_by_clients
from fedops.scalize.adapter.protocol import ModelAdapter, TrainContext
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import MappedTensors, TensorFile, Tensors, load

logger = logging.getLogger("fedops.engine")


class JobScoring:
    """The app, opened once, and what scores rounds with it."""

    def __init__(
        self, adapter: ModelAdapter, data: Any, context: TrainContext, named: bool = False
    ) -> None:
        """``data`` None: the server has no validation data. ``named``: the config names the method."""
        self._named = named
        self._adapter = adapter
        self._data = data
        self._context = context
        #: One evaluation and the directions, on one example. Seconds.
        self._took: list[float | None] = [None, None]
        self._validation = None if data is None else Validation(adapter, data, context)

    @classmethod
    def open(cls, app_dir: Path, config: dict[str, Any], seed: int) -> Self:
        """The app under its run's config."""
        project = Project.open(app_dir).with_config(config)
        make_importable(project.manifest)
        adapter = project.make_adapter(seed)
        found = project.load_validation_data()
        rules = project.config
        context = TrainContext(
            round=0,
            seed=seed,
            epochs=1,
            batch_size=rules.batch_size,
            learning_rate=rules.learning_rate,
            settings=config,
        )
        named = rules.server.contribution.method != AUTO
        return cls(adapter, found[0] if found else None, context, named)

    def warm_up(self) -> None:
        """Do everything that is slow the first time, and see how long it takes the second time."""
        if self._validation is None:
            return
        try:
            measure = self._validation.on(LEAST_EXAMPLES, 0)
            model = self._adapter.get_tensors()
            for _ in range(2):
                self._took = [
                    _seconds_of(lambda: measure.begin(model)) / measure.examples,
                    _seconds_of(lambda: self._directions(measure, model)) / measure.examples,
                ]
            self._validation.first_metric = measure.metric
        except Exception as error:  # the first round says so
            logger.warning("the scoring could not warm up: %s", error_sentence(error))

    def score(self, job: Mapping[str, Any]) -> RoundScores:
        """The scores of a round, and the history with it."""
        began, plan = time.process_time(), ScoringPlan.model_validate(job["plan"])
        devices = [one["device"] for one in job["updates"]]
        history = ScoredHistory.of(job["history"])
        round_ = _round_of(job)
        measure = self._measure(plan, job["seed"], history.metric)
        before = dict(round_.before)
        plan = fitted(plan, measure, len(devices), self._named)
        values, failed = _begun(measure if plan.method else None, before)
        gradients, note = self._directions(measure, before)
        round_ = dataclasses.replace(round_, gradients=gradients)
        known, said = value_by_clients(job["evaluations"], devices)
        rng = np.random.default_rng(job["seed"])
        found = score_round(round_, values, max(plan.evaluations, 1), rng, plan.method, known)
        metric, classes = _measured(values, job["evaluations"])
        anew = history.add(devices, found, metric, classes)
        notes = [plan.note, said, failed, _ruined(values), note, anew]
        return RoundScores(
            round=job["round"],
            method=found.value.method if found.value else None,
            evaluations=found.value.evaluations if found.value else 0,
            examples=measure.examples if measure else plan.examples,
            note=_joined(*notes, *(found.value.notes if found.value else ())),
            basis=dict(job["basis"]),
            scores=[_score(device, found, i, classes) for i, device in enumerate(devices)],
            standings=_standings(history),
            history=history.to_plain(),
            seconds=time.process_time() - began,
            evaluation_seconds=self._took[0] or None,
            direction_seconds=self._took[1],
        )

    def build(self, job: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
        """The models that the round's clients evaluate: path and sha256 of each."""
        before = model_before(Path(job["before"]), self._adapter.contract)
        updates = [
            UpdateFile(one["device"], Path(one["path"]), one["examples"]) for one in job["updates"]
        ]
        made = build_coalitions(before, updates, folder, job["round"])
        return [(str(one.path), one.sha256) for one in made]

    def _measure(self, plan: ScoringPlan, seed: int, metric: str | None) -> Measure | None:
        if self._validation is None or plan.examples == 0:
            return None
        return self._validation.on(plan.examples, seed, metric)

    def _directions(self, measure: Measure | None, before: Tensors) -> tuple[list[Tensors], str]:
        return directions_at(self._adapter, self._context, measure, before)


def _round_of(job: Mapping[str, Any]) -> RoundUpdates:
    """What came of the round, as its files have it, without a gradient."""
    before = load(Path(job["before"]))
    updates = [MappedTensors(Path(one["path"])) for one in job["updates"]]
    weights = [max(one["examples"], 1) for one in job["updates"]]
    return RoundUpdates(before, updates, weights, _change(before, job["previous"], updates[0]))


def _begun(measure: Measure | None, before: Tensors) -> tuple[Measure | None, str]:
    """What evaluates coalitions; None: nothing can, and why."""
    if measure is None:
        return None, ""
    try:
        measure.begin(before)
    except EvaluationFailed as error:
        return None, f"{error.message}, {DIRECTIONS}"
    return measure, ""


def _measured(
    values: Measure | None, evaluations: Mapping[str, Any] | None
) -> tuple[str | None, list[str]]:
    """The metric that the values are made of, and the classes that they are by."""
    if values is not None:
        return values.metric, values.classes
    return (evaluations or {}).get("metric") or None, []


def _ruined(values: Measure | None) -> str:
    if values is None or not values.ruined:
        return ""
    models = "1 model has" if values.ruined == 1 else f"{values.ruined} models have"
    return f"{models} no {values.metric} that is a number, and the worst utility therefore"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))[:2_000]


def _seconds_of(work: Callable[[], object]) -> float:
    """Processor time of our own."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _change(before: Tensors, previous: str | None, update: MappedTensors) -> Tensors | None:
    """How the global model changed in the round before."""
    if previous is None:
        return None
    file = TensorFile(Path(previous))
    return {
        name: before[name].astype(np.float64) - file[name].astype(np.float64)
        for name in compared_names(update)
        if name in file
    }


def _score(device: str, found: Found, i: int, classes: Sequence[str]) -> ClientScore:
    judged: Judgement = found.judgements[i]
    known = dataclasses.asdict(judged.evidence).items()
    return ClientScore(
        device=device,
        value=_at(found.value, i),
        value_error=None if found.value is None else float(found.value.standard_errors[i]),
        by_class=[] if found.value is None else [float(one) for one in found.value.by_class[i]],
        classes=list(classes),
        dig_fl=_at(found.dig_fl, i),
        cgsv=_at(found.cgsv, i),
        integrity=judged.score,
        findings=_said(judged.findings),
        evidence={
            name: float(one) for name, one in known if one is not None and math.isfinite(one)
        },
    )


def _standings(history: ScoredHistory) -> list[ClientStanding]:
    return [_standing(name, one, history) for name, one in sorted(history.clients.clients.items())]


def _standing(device: str, one: ClientContribution, history: ScoredHistory) -> ClientStanding:
    integrity = one.integrity
    return ClientStanding(
        device=device,
        value=one.value,
        value_error=one.standard_error,
        rounds=one.participations,
        by_class=list(one.by_class),
        classes=history.classes if one.by_class else [],
        relative=history.relative.mean(device),
        relative_error=history.relative.error(device),
        integrity=integrity.score,
        findings=_said(integrity.findings),
    )


def _at(found: Estimate | None, i: int) -> float | None:
    return None if found is None else float(found.values[i])


def _said(findings: Sequence[Finding]) -> list[IntegrityFinding]:
    return [IntegrityFinding(kind=one.name, evidence=one.evidence[:1_000]) for one in findings]
