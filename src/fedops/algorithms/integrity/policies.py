"""What follows from integrity: how much each client counts in the next rounds, and why.

report      nothing follows; findings are shown
exclude     a client with a confirmed finding does not take part
downweight  a client with a confirmed finding counts a tenth; a low score without one lowers the weight
            from 1 at -1.5 to a quarter at -4

If more than half of the clients have findings, nothing follows for anybody: what all are compared with is
then not known to be honest. An excluded client returns when its rounds are forgotten, after 300 of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedops.algorithms.integrity.integrity_history import Integrity
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean

#: What is left of the weight of a client with a confirmed finding.
FOUND_FACTOR = 0.1
#: Scores between which the weight falls, and to what.
FULL_FROM, LEAST_FROM, LEAST_FACTOR = -1.5, -4.0, 0.25


@dataclass(frozen=True)
class Standing:
    """How a client counts."""

    #: What its weight is multiplied by; 0: it does not take part.
    factor: float
    reason: str


def _report(integrity: Integrity) -> Standing:
    if not integrity.findings:
        return Standing(1.0, "nothing was found")
    return Standing(1.0, f"reported and nothing more: {_said(integrity)}")


def _exclude(integrity: Integrity) -> Standing:
    if not integrity.findings:
        return Standing(1.0, "nothing was found")
    return Standing(0.0, f"excluded: {_said(integrity)}")


def _downweight(integrity: Integrity) -> Standing:
    if integrity.findings:
        return Standing(FOUND_FACTOR, f"counts a tenth: {_said(integrity)}")
    score = integrity.score
    if score is None or score >= FULL_FROM:
        return Standing(1.0, "nothing was found")
    fallen = min((FULL_FROM - score) / (FULL_FROM - LEAST_FROM), 1.0)
    factor = 1.0 - fallen * (1.0 - LEAST_FACTOR)
    return Standing(factor, f"counts {factor:.2f}, for an integrity of {score:.1f}")


def _said(integrity: Integrity) -> str:
    return "; ".join(f"{one.name}, {one.evidence}" for one in integrity.findings)


POLICIES: dict[str, Callable[[Integrity], Standing]] = {
    "report": _report,
    "exclude": _exclude,
    "downweight": _downweight,
}


def apply_policy(policy: str, clients: Mapping[str, Integrity]) -> dict[str, Standing]:
    """How each client counts.

    Raises:
        Invalid: no such policy; those that there are, are listed.
    """
    if policy not in POLICIES:
        raise Invalid(
            f"there is no integrity policy '{policy}'{did_you_mean(policy, POLICIES) or ';'}"
            f" there are {comma_list(POLICIES)}"
        )
    found = sum(1 for one in clients.values() if one.findings)
    if policy != "report" and 2 * found > len(clients):
        reason = (
            f"{found} of {len(clients)} clients have findings: with more than half, it is not known who is"
            " right, so nothing follows"
        )
        return dict.fromkeys(clients, Standing(1.0, reason))
    return {name: POLICIES[policy](one) for name, one in clients.items()}
