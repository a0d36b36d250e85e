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

from fedops.algorithms.contribution.contribution_history import (
    ClientContribution,
    ContributionHistory,
    add_round,
)
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
from fedops.engine.scoring.scoring_plan import LEAST_EXAMPLES
from fedops.flower.scoring.coalition_files import build_coalitions, model_before
from fedops.flower.scoring.relative_values import RelativeValues
from fedops.flower.scoring.validation import Measure, Validation
from fedops.flower.scoring.values_by_clients import value_by_clients
from fedops.scalize.adapter.protocol import ModelAdapter, TrainContext
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import MappedTensors, TensorFile, Tensors, load

logger = logging.getLogger("fedops.engine")

_TRAINED = "the loss is the app's own: where a training on the validation data leads stands for its gradient"


class JobScoring:
    """The app, opened once, and what scores rounds with it."""

    def __init__(self, adapter: ModelAdapter, data: Any, context: TrainContext) -> None:
        """``data`` None: the server has no validation data."""
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
        return cls(adapter, found[0] if found else None, context)

    def warm_up(self) -> None:
        """Do everything that is slow the first time, and see how long it takes the second time."""
        try:
            if measure := self._measure(ScoringPlan(examples=LEAST_EXAMPLES), 0):
                model = self._adapter.get_tensors()
                for _ in range(2):
                    self._took = [
                        _seconds_of(lambda: measure(model)) / LEAST_EXAMPLES,
                        _seconds_of(lambda: self._directions(measure, model)) / LEAST_EXAMPLES,
                    ]
        except Exception as error:  # the first round says so
            logger.warning("evaluating the first model failed: %s", error)

    def score(self, job: Mapping[str, Any]) -> RoundScores:
        """The scores of a round, and the history with it."""
        began, plan = time.process_time(), ScoringPlan.model_validate(job["plan"])
        devices = [one["device"] for one in job["updates"]]
        before = load(Path(job["before"]))
        updates = [MappedTensors(Path(one["path"])) for one in job["updates"]]
        measure = self._measure(plan, job["seed"])
        gradients, note = self._directions(measure, before)
        round_ = RoundUpdates(
            before,
            updates,
            [max(one["examples"], 1) for one in job["updates"]],
            _change(before, job["previous"], updates[0]),
            gradients,
        )
        known, said = value_by_clients(job["evaluations"], devices)
        values = measure if plan.method is not None else None
        rng = np.random.default_rng(job["seed"])
        found = score_round(round_, values, max(plan.evaluations, 1), rng, plan.method, known)
        history, anew = _added(job["history"].get("clients"), devices, found)
        relative = RelativeValues.of({} if anew else job["history"].get("relative", {}))
        relative.add(devices, found.value)
        notes = [plan.note, said, note, anew, *(found.value.notes if found.value else ())]
        return RoundScores(
            round=job["round"],
            method=found.value.method if found.value else None,
            evaluations=found.value.evaluations if found.value else 0,
            examples=plan.examples,
            note="; ".join(filter(None, notes))[:2_000],
            basis=dict(job["basis"]),
            scores=[_score(device, found, i) for i, device in enumerate(devices)],
            standings=[
                _standing(name, one, relative) for name, one in sorted(history.clients.items())
            ],
            history={"clients": history.to_plain(), "relative": relative.sums},
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

    def _measure(self, plan: ScoringPlan, seed: int) -> Measure | None:
        if self._validation is None or plan.examples == 0:
            return None
        return self._validation.on(plan.examples, seed)

    def _directions(self, measure: Measure | None, before: Tensors) -> tuple[list[Tensors], str]:
        """In which direction the validation loss grows, and what is to be said of that."""
        if measure is None:
            return [], ""
        try:
            if gradients := measure.gradients(before):
                return gradients, ""
            return [self._trained(before, measure)], _TRAINED
        except Exception as error:
            return (
                [],
                f"there is no direction of the validation data: {type(error).__name__}: {error}",
            )

    def _trained(self, before: Tensors, measure: Measure) -> Tensors:
        """Against where one training on the examples that are evaluated on leads."""
        self._adapter.set_tensors(before)
        self._adapter.train(measure.whole, self._context)
        after = self._adapter.get_tensors()
        self._adapter.set_tensors(before)
        return {
            name: np.asarray(before[name], np.float64) - np.asarray(after[name], np.float64)
            for name in compared_names(before)
        }


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


def _added(
    plain: Mapping[str, Any] | None, devices: Sequence[str], found: Found
) -> tuple[ContributionHistory, str]:
    history = ContributionHistory.from_plain(plain) if plain else ContributionHistory()
    if not _is_alike(history, found.value):
        history, note = ContributionHistory(), "the classes changed: the history begins anew"
    else:
        note = ""
    number = history.last_round + 1
    return add_round(history, number, devices, found.value, found.judgements), note


def _is_alike(history: ContributionHistory, value: Estimate | None) -> bool:
    if value is None:
        return True
    classes = value.by_class.shape[1]
    return all(
        len(one.by_class) in (0, classes) or not one.participations
        for one in history.clients.values()
    )


def _score(device: str, found: Found, i: int) -> ClientScore:
    judged: Judgement = found.judgements[i]
    known = dataclasses.asdict(judged.evidence).items()
    return ClientScore(
        device=device,
        value=_at(found.value, i),
        value_error=None if found.value is None else float(found.value.standard_errors[i]),
        by_class=[] if found.value is None else [float(one) for one in found.value.by_class[i]],
        dig_fl=_at(found.dig_fl, i),
        cgsv=_at(found.cgsv, i),
        integrity=judged.score,
        findings=_said(judged.findings),
        evidence={
            name: float(one) for name, one in known if one is not None and math.isfinite(one)
        },
    )


def _standing(device: str, one: ClientContribution, relative: RelativeValues) -> ClientStanding:
    integrity = one.integrity
    return ClientStanding(
        device=device,
        value=one.value,
        value_error=one.standard_error,
        rounds=one.participations,
        by_class=list(one.by_class),
        relative=relative.mean(device),
        relative_error=relative.error(device),
        integrity=integrity.score,
        findings=_said(integrity.findings),
    )


def _at(found: Estimate | None, i: int) -> float | None:
    return None if found is None else float(found.values[i])


def _said(findings: Sequence[Finding]) -> list[IntegrityFinding]:
    return [IntegrityFinding(kind=one.name, evidence=one.evidence[:1_000]) for one in findings]
