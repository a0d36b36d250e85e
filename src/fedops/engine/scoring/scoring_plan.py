"""How much of a round's updates is measured: evaluations and examples that fit into the budget.

The budget is a share of the round's time unless the config says otherwise. What fits is fixed with the
round's commit, so that whoever scores it, and however fast, does the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fedops.algorithms.contribution.estimators import METHODS, choose_method, require_method
from fedops.algorithms.integrity.policies import POLICIES
from fedops.config.schema import Contribution
from fedops.core.contracts import RoundScores, ScoringPlan
from fedops.core.errors import Invalid
from fedops.core.reasons.durations import pluralised
from fedops.core.suggestions import comma_list, did_you_mean

OFF, AUTO = "none", "auto"
SERVER, CLIENTS = "server", "clients"
#: What clients can evaluate: the model of all of them, and those without each.
ON_CLIENTS = "leave_one_out"
#: Each client is valued by the others, and one alone is not enough.
LEAST_CLIENTS = 3
#: Each of so many is given as many models; of more, that would be too many for the server and for them.
MOST_CLIENTS = 50
#: The share of a round's time that its scoring may take, where the config does not say.
SHARE = 0.1
#: Fewer examples than these are not evaluated on, if there are more.
LEAST_EXAMPLES = 200
#: What is taken for ``Cost.beside`` until it is measured.
BESIDE = 3.0
#: Up to so many clients all coalitions are wanted; beyond, so many evaluations for each client.
ALL_UP_TO, PER_CLIENT = 7, 20
DIRECTIONS = "so there are only the scores of the updates' directions"
NO_DATA = f"the server has no validation data, {DIRECTIONS}"
#: What else could be done.
ASK_CLIENTS = "with utility = 'clients' in [server.contribution] the clients themselves evaluate"


@dataclass(frozen=True)
class Cost:
    """What scoring takes."""

    #: How many validation examples there are. 0: nobody can evaluate.
    examples: int
    #: Of one model on one example. Seconds.
    seconds: float
    #: Of a round without any evaluation. Seconds.
    least: float = 0.0
    #: Of what is beside the evaluations (reading the updates, the gradient), in evaluations.
    beside: float = BESIDE


def cost_after(known: Cost, scores: RoundScores) -> Cost:
    """What scoring takes, when it has been done once more."""
    least = known.least if scores.evaluations else scores.seconds
    one, work = scores.evaluation_seconds, scores.evaluations * scores.examples
    if (
        one is None
    ):  # without evaluations nothing was measured: what once was too slow is tried again
        return replace(
            known, seconds=scores.seconds / work if work else known.seconds / 2, least=least
        )
    beside = BESIDE if scores.direction_seconds is None else scores.direction_seconds / one
    return replace(known, seconds=one, least=least, beside=beside)


def require_contribution(rules: Contribution) -> None:
    """``Invalid`` when ``[server.contribution]`` names a method or policy that is not known."""
    known = [OFF, AUTO, *METHODS]
    if rules.method not in known:
        raise Invalid(
            f"[server.contribution] method: there is no method '{rules.method}'"
            f"{did_you_mean(rules.method, known) or ';'} there are {comma_list(known)}"
        )
    if rules.utility == CLIENTS and rules.method not in (OFF, AUTO, ON_CLIENTS):
        raise Invalid(
            f"[server.contribution] method: '{rules.method}' evaluates other models than those that clients"
            f" are given; with utility = '{CLIENTS}' it is '{AUTO}' or '{ON_CLIENTS}'"
        )
    if rules.policy not in POLICIES:
        raise Invalid(
            f"[server.contribution] policy: there is no policy '{rules.policy}'"
            f"{did_you_mean(rules.policy, POLICIES) or ';'} there are {comma_list(POLICIES)}"
        )


def is_scored(rules: Contribution, round_: int) -> bool:
    """Whether the updates of this round are scored."""
    return rules.method != OFF and round_ % rules.every == 0


def limits_time_only(rules: Contribution) -> bool:
    """Whether nothing limits the scoring but a share of the rounds' time."""
    return rules.max_seconds is None and rules.max_evaluations is None


def _budget(rules: Contribution, seconds: float) -> float:
    """``seconds``, unless the config has a limit of its own: infinite, if that is one of evaluations."""
    if limits_time_only(rules):
        return seconds
    return math.inf if rules.max_seconds is None else rules.max_seconds


def plan_scoring(rules: Contribution, clients: int, seconds: float, cost: Cost) -> ScoringPlan:
    """What fits, for so many clients, into so many seconds unless the config has a limit of its own."""
    if cost.examples == 0:
        return ScoringPlan(note=NO_DATA if rules.utility == SERVER else f"{NO_DATA}; {ASK_CLIENTS}")
    wanted = _wanted(rules, clients)
    seconds = _budget(rules, seconds)
    if math.isinf(seconds):
        return _with_method(rules, clients, wanted, cost.examples, "")
    evaluations, examples = _fitting(wanted, seconds, cost)
    short = ""
    if (evaluations, examples) != (wanted, cost.examples):
        within = (
            f"{pluralised(evaluations, 'evaluation')} on {examples} of {cost.examples} examples"
        )
        short = f"{within} fit into {seconds:.2g} s"
    return _with_method(rules, clients, evaluations, examples, short)


def plan_on_clients(rules: Contribution, clients: int, seconds: float, each: float) -> ScoringPlan:
    """What its clients are asked, within so many seconds. ``each``: of a model on slow ones; 0: unknown."""
    models, why = clients + 1, ""
    budget = _budget(rules, seconds)
    if clients < LEAST_CLIENTS:
        why = f"each client is valued by {LEAST_CLIENTS - 1} others at least, and there are {clients} clients"
    elif clients > MOST_CLIENTS:
        why = f"{clients} clients would evaluate {models} models, and up to {MOST_CLIENTS} clients may"
    elif rules.max_evaluations is not None and rules.max_evaluations < models:
        why = f"{models} models would be evaluated, and {rules.max_evaluations} may be"
    elif models * each > budget:
        why = f"{models} models take a client {models * each:.2g} s, and may take {budget:.2g} s"
    if why:
        return ScoringPlan(evaluated_by=CLIENTS, note=f"{why}, {DIRECTIONS}")
    return ScoringPlan(method=ON_CLIENTS, evaluations=models, evaluated_by=CLIENTS)


def slowest_but_one(seconds: Iterable[float]) -> float:
    """What it takes the slow ones, by their own word: of three and more, one that lies says nothing."""
    found = sorted(seconds, reverse=True)
    return 0.0 if not found else found[1] if len(found) >= LEAST_CLIENTS else found[0]


def _wanted(rules: Contribution, clients: int) -> int:
    """How many evaluations there would be without a limit of time."""
    if rules.method != AUTO:
        method = require_method(rules.method)
        most = rules.max_evaluations or max(method.least(clients), PER_CLIENT * clients)
        return method.least(clients) if method.fixed else most
    every = 1 << clients if clients <= ALL_UP_TO else PER_CLIENT * clients
    return min(every, rules.max_evaluations or every)


def _fitting(wanted: int, seconds: float, cost: Cost) -> tuple[int, int]:
    capacity = seconds / max(cost.seconds, 1e-9)
    least = min(LEAST_EXAMPLES, cost.examples)
    examples = min(max(math.floor(capacity / (wanted + cost.beside)), least), cost.examples)
    return max(min(wanted, math.floor(capacity / examples - cost.beside)), 0), examples


def _with_method(
    rules: Contribution, clients: int, evaluations: int, examples: int, short: str
) -> ScoringPlan:
    if rules.method == AUTO:
        choice = choose_method(clients, max(evaluations, 1))
        name, used = choice.method, min(choice.evaluations, evaluations)
        reason = (
            "" if name else f"Shapley values need {clients + 2} evaluations at least, {DIRECTIONS}"
        )
    else:
        least = require_method(rules.method).least(clients)
        enough = evaluations >= least and (rules.max_evaluations or least) >= least
        name, used = (rules.method, evaluations) if enough else (None, 0)
        limit = min(evaluations, rules.max_evaluations or evaluations)
        reason = (
            ""
            if enough
            else f"'{rules.method}' needs {least} evaluations with {clients} clients and {limit} are"
            " allowed, so there are only the scores of the updates' directions"
        )
    note = "; ".join(filter(None, (short, reason)))
    return ScoringPlan(method=name, evaluations=used, examples=examples, note=note)
