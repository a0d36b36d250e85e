"""A round's plan where the validation data cannot be cut, so that each evaluation takes all examples.

The plan was made for fewer examples, in a time that so many evaluations do not fit into. What fits follows
from the plan alone, so that whoever scores the round does the same.
"""

from __future__ import annotations

from fedops.algorithms.contribution.estimators import choose_method, require_method
from fedops.core.contracts import ScoringPlan
from fedops.core.reasons.durations import pluralised
from fedops.engine.scoring.scoring_plan import BESIDE, DIRECTIONS
from fedops.flower.scoring.validation import Measure


def fitted(plan: ScoringPlan, measure: Measure | None, clients: int, named: bool) -> ScoringPlan:
    """The plan, with as many evaluations as take the time that was planned.

    ``named``: the config names the method, and no other takes its place.
    """
    if measure is None or measure.examples == measure.wanted:
        return plan
    whole = (
        f"the validation data cannot be cut, so all {measure.examples} examples were evaluated on"
    )
    if plan.method is None:
        return _with(plan, None, 0, whole)
    share = measure.wanted / measure.examples
    fit = int((plan.evaluations + BESIDE) * share - BESIDE)
    if named:
        method = plan.method if fit >= require_method(plan.method).least(clients) else None
    else:
        method = choose_method(clients, max(fit, 1)).method
    if method is None:
        few = (
            f"{pluralised(max(fit, 0), 'evaluation')} on all {measure.examples} examples would fit"
        )
        return _with(plan, None, 0, f"the validation data cannot be cut, and {few}, {DIRECTIONS}")
    return _with(plan, method, fit, whole)


def _with(plan: ScoringPlan, method: str | None, evaluations: int, why: str) -> ScoringPlan:
    note = "; ".join(filter(None, [plan.note, why]))[:1_000]
    changed = {"method": method, "evaluations": evaluations, "note": note}
    return plan.model_copy(update=changed)
