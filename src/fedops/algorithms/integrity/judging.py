"""A round's verdict on each update: its score, and what it is found to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedops.algorithms.integrity.findings import Finding, round_findings
from fedops.algorithms.integrity.robust_scores import round_scores
from fedops.algorithms.integrity.update_evidence import UpdateEvidence


@dataclass(frozen=True)
class Judgement:
    """Of one update in one round."""

    evidence: UpdateEvidence
    #: 0 is typical, below 0 is worse than its fellows, -6 is the least. None: too few to compare.
    score: float | None
    findings: tuple[Finding, ...]


def judge_round(evidence: Sequence[UpdateEvidence]) -> list[Judgement]:
    """Of each update, in the same order."""
    findings = round_findings(evidence)
    scores = round_scores(evidence, [not found for found in findings])
    return [
        Judgement(own, score, found)
        for own, score, found in zip(evidence, scores, findings, strict=True)
    ]
