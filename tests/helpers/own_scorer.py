"""What the scoring process does, in this one, with a model that a line has."""

from __future__ import annotations

import json
from pathlib import Path

from line_model import LineAdapter

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.engine.link.server_link import ServerLink
from fedops.engine.run_setup import Setup
from fedops.engine.scoring.scorer import ModelFile, ScoringFailed, ScoringJob
from fedops.flower.scoring.child_scorer import plain_job
from fedops.flower.scoring.client_evaluations import AskedClients, evaluator_of
from fedops.flower.scoring.job_scoring import JobScoring


class OwnScorer:
    """Scores without a process, on no validation data."""

    is_ready = True

    def __init__(self, setup: Setup) -> None:
        self.built: list[list[str]] = []
        self._folder = setup.spool
        self._scoring = JobScoring(LineAdapter(setup.spec.seed), None, setup.context(0))

    def score(self, job: ScoringJob, seconds: float) -> c.RoundScores:
        try:
            return self._scoring.score(json.loads(json.dumps(plain_job(job))))
        except FedOpsError as error:
            raise ScoringFailed(error.message) from None

    def build(self, job: ScoringJob, seconds: float) -> list[ModelFile]:
        made = self._scoring.build(plain_job(job), self._folder)
        self.built.append([sha256 for _, sha256 in made])
        return [ModelFile(Path(path), sha256) for path, sha256 in made]

    def close(self) -> None:
        """Nothing is open."""


def scoring_by_clients(setup: Setup, link: ServerLink) -> tuple[OwnScorer, AskedClients | None]:
    """Who scores the rounds, and who has the clients evaluate."""
    return OwnScorer(setup), evaluator_of(setup, link)
