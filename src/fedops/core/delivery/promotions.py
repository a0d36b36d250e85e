"""Whether the version of a scheduled run takes the place of the one that serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedops.core.contracts.schedules import PromotionRule
from fedops.core.quality_gate import USUAL_METRICS, GateRule, less_is_better

#: After so many runs in a row that were not promoted a schedule is paused.
PAUSES_AFTER = 2
_EQUAL = 1e-9


@dataclass(frozen=True)
class Decision:
    """Whether a version is promoted, and why (not), with both numbers."""

    promoted: bool
    why: str


def decide(
    rule: PromotionRule,
    gate: GateRule,
    serving: str | None,
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> Decision:
    """Judge a version by its metrics and those of ``serving`` (its name; None: nothing serves yet).

    >>> rule = PromotionRule(margin=0.01)
    >>> decide(rule, GateRule("accuracy"), "V2", {"accuracy": 0.9}, {"accuracy": 0.905})
    Decision(promoted=False, why='accuracy is 0.905, and 0.9 of V2: it must be better by 0.01')
    """
    if rule.rule == "never":
        return Decision(False, "the schedule promotes nothing")
    if rule.rule == "always":
        return Decision(True, "the schedule promotes every version that is not quarantined")
    if serving is None:
        return Decision(True, "nothing was serving")
    chosen = rule.metric or gate.metric
    names = (chosen,) if chosen else USUAL_METRICS
    metric = next((name for name in names if name in before and name in after), None)
    if metric is None:
        lacking = " and no ".join(names)
        return Decision(False, f"no {lacking} is known of both {serving} and it")
    less = gate.less_is_better if metric == gate.metric else None
    return _compare(
        metric,
        less_is_better(metric) if less is None else less,
        (before[metric], after[metric]),
        serving,
        rule.margin,
    )


def _compare(
    metric: str, less: bool, values: tuple[float, float], serving: str, margin: float
) -> Decision:
    before, after = values
    better = before - after if less else after - before
    promoted = better >= margin - _EQUAL if margin else better > _EQUAL
    text = f"{metric} is {after:.4g}, and {before:.4g} of {serving}"
    if promoted:
        return Decision(True, text)
    return Decision(False, f"{text}: it must be better" + (f" by {margin:g}" if margin else ""))
