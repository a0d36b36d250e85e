"""A scorer that knows what each device is worth."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fedops.core import contracts as c
from fedops.engine.scoring.scorer import ModelFile, ScoringJob

REPLAY = c.IntegrityFinding(kind="replay", evidence="it is the last change")


class TableScorer:
    """Adds what the table says to the history, for each device that took part."""

    is_ready = True

    def __init__(self, worth: Mapping[str, float], replaying: Collection[str] = ()) -> None:
        """``replaying``: who is found to replay, from the first round on."""
        self.worth = worth
        self.replaying = replaying
        self.rounds: list[int] = []

    def score(self, job: ScoringJob, seconds: float) -> c.RoundScores:
        self.rounds.append(job.round)
        known = {name: list(one) for name, one in job.history.items()}
        for update in job.updates:
            one = known.setdefault(update.device, [0.0, 0])
            one[0], one[1] = one[0] + self.worth[update.device], one[1] + 1
        standings = [
            c.ClientStanding(
                device=name,
                value=value,
                rounds=rounds,
                relative=value / rounds,
                findings=[REPLAY] if name in self.replaying else [],
            )
            for name, (value, rounds) in sorted(known.items())
        ]
        return c.RoundScores(
            round=job.round, basis=dict(job.basis), standings=standings, history=known
        )

    def build(self, job: ScoringJob, seconds: float) -> list[ModelFile]:
        raise AssertionError("it evaluates nothing")

    def close(self) -> None:
        """Nothing is open."""
