"""Whether a new model is so much worse than the one it came from that nobody should go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What is compared where the task names no metric: the first that both models have.
USUAL_METRICS = ("loss", "accuracy")
#: Of a metric with one of these in its name, less is better.
_LESS_IS_BETTER = ("loss", "error", "perplexity")


@dataclass(frozen=True)
class GateRule:
    """What is compared, and how many times worse it may be."""

    #: None: the first of the usual ones that both have.
    metric: str | None = None
    #: Whether less of it is better. None: as its name says.
    less_is_better: bool | None = None
    #: 0: nothing is compared.
    ratio: float = 2.0


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a model, in words."""

    collapsed: bool
    text: str


def less_is_better(metric: str) -> bool:
    """Whether less of a metric is better, as its name says.

    >>> less_is_better("val_loss"), less_is_better("accuracy")
    (True, False)
    """
    return any(word in metric.casefold() for word in _LESS_IS_BETTER)


def judge(
    rule: GateRule,
    before: Mapping[str, float],
    after: Mapping[str, float],
    name: str,
    *,
    evaluated: bool = False,
) -> Verdict:
    """Compare a model's metrics with those of the model ``name`` that it came from.

    ``evaluated``: whether somebody measured it. A metric that is missing then was no number.

    >>> judge(GateRule(), {"loss": 0.3}, {"loss": 0.7}, "V3")
    Verdict(collapsed=True, text='its loss is 0.7, more than 2 times the 0.3 of V3')
    >>> judge(GateRule(), {"accuracy": 0.9}, {"accuracy": 0.4}, "V3").text
    'its accuracy is 0.4, less than the 0.9 of V3 / 2'
    >>> judge(GateRule(), {}, {"accuracy": 0.4}, "V3").text
    'no gate: no loss and no accuracy is known of both V3 and it'
    """
    if not rule.ratio:
        return Verdict(False, "no gate: server.gate.ratio is 0")
    names = USUAL_METRICS if rule.metric is None else (rule.metric,)
    found = next((one for one in names if one in before and one in after), None)
    if found is not None:
        return _compare(rule, found, (before[found], after[found]), name)
    lost = next((one for one in names if one in before), None)
    if lost is not None and evaluated:
        why = "it was too large, infinite or not a number"
        return Verdict(True, f"it was evaluated and has no {lost}, which {name} has: {why}")
    known = " and no ".join(names)
    return Verdict(False, f"no gate: no {known} is known of both {name} and it")


def _compare(rule: GateRule, metric: str, values: tuple[float, float], name: str) -> Verdict:
    before, after = values
    less = less_is_better(metric) if rule.less_is_better is None else rule.less_is_better
    if before <= 0:  # it has no multiple that would say something
        return Verdict(False, f"no gate: the {metric} of {name} is {before:.4g}")
    if less and after > rule.ratio * before:
        text = f"its {metric} is {after:.4g}, more than {rule.ratio:g} times the {before:.4g} of {name}"
        return Verdict(True, text)
    if not less and after * rule.ratio < before:
        text = f"its {metric} is {after:.4g}, less than the {before:.4g} of {name} / {rule.ratio:g}"
        return Verdict(True, text)
    return Verdict(False, f"its {metric} is {after:.4g}, and {before:.4g} of {name}")
