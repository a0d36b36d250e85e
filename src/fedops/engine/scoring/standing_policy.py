"""What the contributions that are known change in a round: what selectors see, and who is out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedops.algorithms.integrity.findings import Finding
from fedops.algorithms.integrity.integrity_history import Integrity
from fedops.algorithms.integrity.policies import Standing, apply_policy
from fedops.core.contracts import Candidate, ClientStanding, IntegrityFlag

Standings = Mapping[str, ClientStanding]


def policies(policy: str, standings: Standings) -> dict[str, Standing]:
    """How each known client counts."""
    return apply_policy(policy, {name: _integrity(one) for name, one in standings.items()})


def with_standing(
    candidate: Candidate, standings: Standings, counts: Mapping[str, Standing]
) -> Candidate:
    """The candidate as selectors see it. Who is excluded is not available."""
    known = standings.get(candidate.device)
    if known is None:
        return candidate
    flags = [IntegrityFlag(kind=one.kind, reason=one.evidence) for one in known.findings]
    seen: dict[str, Any] = {
        "value": known.relative,
        "value_error": known.relative_error if known.relative is not None else None,
        "rounds_scored": known.rounds,
        "flags": flags,
    }
    found = counts.get(candidate.device)
    if found is not None and found.factor == 0.0 and candidate.unavailable is None:
        seen["unavailable"] = found.reason
    return candidate.model_copy(update=seen)


def _integrity(one: ClientStanding) -> Integrity:
    findings = tuple(Finding(found.kind, found.evidence) for found in one.findings)
    return Integrity(one.integrity, one.rounds, findings)
