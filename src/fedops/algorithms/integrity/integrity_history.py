"""What the last rounds say of each client together: the second of its two numbers, and confirmed findings.

The integrity of a client is the mean of its scores in the last rounds, and so is on the scale of a robust z:
0 is typical, -6 the least. A finding is confirmed when it came out in several of them; one round may be
chance. A client is judged by the last rounds that it took part in, and by none that is long ago, so that
nobody is judged by them for ever.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedops.algorithms.integrity.findings import Finding
from fedops.algorithms.integrity.judging import Judgement
from fedops.algorithms.integrity.update_evidence import UpdateEvidence

#: So many rounds of a client are remembered, and none for more rounds of the task than this.
MEMORY, AGE = 20, 300
#: How many rounds must show it, and what share of those the client took part in.
CONFIRMED_BY: dict[str, int] = {"free_rider": 2, "replay": 2, "noise": 3, "sign_flipped": 2}
CONFIRMED_SHARE = 0.5
#: Below this mean score, over so many rounds, an update is harmful whatever it is.
HARMFUL_SCORE, HARMFUL_ROUNDS = -2.0, 3


@dataclass(frozen=True)
class JudgedRound:
    """One round of one client."""

    round: int
    judgement: Judgement

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it: what ``integrity_of`` looks at, and no more of the evidence."""
        return {
            "round": self.round,
            "score": self.judgement.score,
            "findings": [dataclasses.asdict(one) for one in self.judgement.findings],
            "removal": self.judgement.evidence.removal,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> JudgedRound:
        """What ``to_plain`` gave."""
        evidence = UpdateEvidence(share=0.0, norm=0.0, removal=plain["removal"])
        findings = tuple(Finding(**one) for one in plain["findings"])
        return cls(plain["round"], Judgement(evidence, plain["score"], findings))


@dataclass(frozen=True)
class Integrity:
    """What is to be said of one client."""

    #: The mean of its scores. None: it was never compared with enough others.
    score: float | None
    #: How many rounds this rests on.
    rounds: int
    findings: tuple[Finding, ...]


def remember(
    known: Sequence[JudgedRound], judgement: Judgement, round_: int
) -> tuple[JudgedRound, ...]:
    """The rounds of a client with one more."""
    return (*known, JudgedRound(round_, judgement))


def recent(known: Sequence[JudgedRound], now: int) -> tuple[JudgedRound, ...]:
    """Those that still count in round ``now``."""
    return tuple(one for one in known if one.round > now - AGE)[-MEMORY:]


def integrity_of(known: Sequence[JudgedRound]) -> Integrity:
    """The number and the findings that these rounds make together."""
    scores = [one.judgement.score for one in known if one.judgement.score is not None]
    mean = sum(scores) / len(scores) if scores else None
    findings = _confirmed(known) or _harmful(known, mean, len(scores))
    return Integrity(mean, len(known), tuple(findings))


def _confirmed(known: Sequence[JudgedRound]) -> list[Finding]:
    counts = Counter(found.name for one in known for found in one.judgement.findings)
    return [
        Finding(name, f"in {times} of its last {len(known)} rounds; {_latest(known, name)}")
        for name, times in counts.items()
        if times >= CONFIRMED_BY[name] and times >= CONFIRMED_SHARE * len(known)
    ]


def _latest(known: Sequence[JudgedRound], name: str) -> str:
    return next(
        f"the last time {found.evidence}"
        for one in reversed(known)
        for found in one.judgement.findings
        if found.name == name
    )


def _harmful(known: Sequence[JudgedRound], mean: float | None, scored: int) -> list[Finding]:
    """Training that helps nobody, as on wrong labels. Not said of what has a name of its own."""
    if mean is None or mean > HARMFUL_SCORE or scored < HARMFUL_ROUNDS:
        return []
    removals = [one.judgement.evidence.removal for one in known]
    worse = sum(1 for removal in removals if removal is not None and removal < 0)
    without = f"; without it the model would have been better in {worse} of them" if worse else ""
    sentence = (
        f"over its last {len(known)} rounds its updates go less with the others and give the classes less"
        f" than others do (score {mean:.1f}){without}"
    )
    return [Finding("harmful", sentence)]
