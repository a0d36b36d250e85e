"""How many evaluations, on how many examples, fit into the budget of a round's scoring."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedops.config.schema import Contribution
from fedops.core.contracts import RoundScores, ScoringPlan
from fedops.core.errors import Invalid
from fedops.engine.scoring.saved_time import NOT_READY, TOO_DEAR, SavedTime
from fedops.engine.scoring.scoring_plan import (
    ASK_CLIENTS,
    NO_DATA,
    Cost,
    cost_after,
    is_scored,
    plan_on_clients,
    plan_scoring,
    require_contribution,
    slowest_but_one,
)

#: A thousand examples, each of which takes a tenth of a millisecond.
COST = Cost(1_000, 1e-4)


def rules(**values: object) -> Contribution:
    return Contribution.model_validate({"method": "auto", **values})


def test_what_does_not_fit_into_the_time_is_left_out_and_said() -> None:
    plan = plan_scoring(rules(), 6, 10.0, COST)
    assert (plan.method, plan.evaluations, plan.examples, plan.note) == ("shapley", 64, 1_000, "")
    plan = plan_scoring(rules(), 6, 3.0, COST)  # 67 evaluations on 447 examples
    assert (plan.method, plan.evaluations, plan.examples) == ("shapley", 64, 447)
    assert plan.note == "64 evaluations on 447 of 1000 examples fit into 3 s"
    assert (plan.evaluations + 3) * plan.examples * COST.seconds <= 3.0


def test_first_the_examples_become_fewer_then_the_evaluations() -> None:
    plan = plan_scoring(rules(), 6, 1.0, COST)  # 50 times 200 examples, 3 of them for the gradient
    assert (plan.method, plan.evaluations, plan.examples) == ("kernel_shap", 47, 200)
    plan = plan_scoring(rules(), 6, 0.4, COST)
    assert (plan.method, plan.evaluations, plan.examples) == ("guided_permutations", 17, 200)
    plan = plan_scoring(rules(), 6, 0.2, COST)  # 7 evaluations: one less than n + 2
    assert (plan.method, plan.evaluations) == (None, 0)
    assert "Shapley values need 8 evaluations at least" in plan.note


def test_a_number_of_evaluations_sets_no_limit_of_time() -> None:
    plan = plan_scoring(rules(max_evaluations=40), 6, 0.001, COST)
    assert (plan.method, plan.evaluations, plan.examples) == ("kernel_shap", 40, 1_000)
    both = plan_scoring(rules(max_evaluations=40, max_seconds=0.5), 6, 0.001, COST)
    assert (both.evaluations, both.examples) == (22, 200)


def test_a_method_that_was_asked_for_is_used_or_it_is_said_why_not() -> None:
    plan = plan_scoring(rules(method="leave_one_out"), 6, 100.0, COST)
    assert (plan.method, plan.evaluations) == ("leave_one_out", 7)
    plan = plan_scoring(rules(method="banzhaf", max_evaluations=20), 6, 100.0, COST)
    assert plan.method is None
    assert "'banzhaf' needs 64 evaluations with 6 clients and 20 are allowed" in plan.note


def test_without_validation_data_directions_are_left() -> None:
    plan = plan_scoring(rules(utility="server"), 6, 100.0, Cost(0, 0.0))
    assert (plan.method, plan.evaluations, plan.examples, plan.note) == (None, 0, 0, NO_DATA)
    assert plan_scoring(rules(), 6, 100.0, Cost(0, 0.0)).note == f"{NO_DATA}; {ASK_CLIENTS}"


def on_clients(clients: int, each: float, **values: object) -> ScoringPlan:
    return plan_on_clients(rules(utility="clients", **values), clients, 6.0, each)


def test_clients_evaluate_one_model_more_than_there_are_of_them() -> None:
    plan = on_clients(5, 0.9)
    assert (plan.method, plan.evaluations, plan.evaluated_by) == ("leave_one_out", 6, "clients")
    assert (plan.examples, plan.note) == (0, "")
    assert on_clients(5, 0.0).method == "leave_one_out"  # not known yet: it is tried


@pytest.mark.parametrize(
    ("clients", "each", "values", "why"),
    [
        (2, 0.0, {}, "each client is valued by 2 others at least, and there are 2 clients"),
        (51, 0.0, {}, "51 clients would evaluate 52 models, and up to 50 clients may"),
        (5, 1.1, {}, "6 models take a client 6.6 s, and may take 6 s"),
        (5, 1.1, {"max_seconds": 3.0}, "6 models take a client 6.6 s, and may take 3 s"),
        (5, 0.1, {"max_evaluations": 5}, "6 models would be evaluated, and 5 may be"),
    ],
)
def test_what_clients_cannot_evaluate_leaves_the_directions(
    clients: int, each: float, values: dict[str, object], why: str
) -> None:
    plan = on_clients(clients, each, **values)
    assert (plan.method, plan.evaluations) == (None, 0)
    assert plan.note == f"{why}, so there are only the scores of the updates' directions"


def test_a_number_of_evaluations_sets_no_limit_of_time_on_clients_either() -> None:
    assert on_clients(5, 100.0, max_evaluations=6).method == "leave_one_out"


def test_one_that_lies_about_its_time_is_not_heard() -> None:
    assert slowest_but_one([0.2, 1e6, 0.5]) == 0.5
    assert slowest_but_one([0.2, 0.5]) == 0.5
    assert slowest_but_one([]) == 0.0


@pytest.mark.parametrize("method", ["shapley", "kernel_shap", "individual"])
def test_a_method_that_needs_other_models_is_refused_with_those_that_do_not(method: str) -> None:
    with pytest.raises(Invalid, match=f"'{method}' evaluates other models .* 'auto' or 'leave_one"):
        require_contribution(rules(method=method, utility="clients"))
    require_contribution(rules(method=method, utility="server"))
    require_contribution(rules(method="leave_one_out", utility="clients"))


def test_who_else_could_evaluate_is_said_with_those_who_can() -> None:
    with pytest.raises(ValidationError, match="'auto', 'server' or 'clients'"):
        rules(utility="devices")


def test_only_some_rounds_are_scored_if_that_is_wanted() -> None:
    assert [n for n in range(1, 8) if is_scored(rules(every=3), n)] == [3, 6]
    assert not any(is_scored(Contribution(), n) for n in range(1, 8))


def test_what_is_not_known_lists_what_is() -> None:
    with pytest.raises(Invalid, match=r"no method 'shaply'; did you mean 'shapley'\?.* there are"):
        require_contribution(rules(method="shaply"))
    with pytest.raises(Invalid, match=r"policy: there is no policy 'banish'; there are 'report'"):
        require_contribution(rules(policy="banish"))
    for method in ("none", "auto", "kernel_shap"):
        require_contribution(rules(method=method))


def test_what_was_measured_is_what_the_next_plan_reckons_with() -> None:
    found = RoundScores(
        round=1,
        evaluations=0,
        examples=200,
        seconds=0.5,
        evaluation_seconds=2e-4,
        direction_seconds=1e-3,
    )
    assert cost_after(COST, found) == Cost(1_000, 2e-4, least=0.5, beside=5.0)
    found = found.model_copy(update={"evaluations": 10, "seconds": 0.9})
    assert cost_after(Cost(1_000, 1e-4, 0.5), found).least == 0.5
    own = RoundScores(round=1, evaluations=10, examples=100, seconds=0.5)
    assert cost_after(COST, own).seconds == 0.5 / 1_000
    assert cost_after(COST, RoundScores(round=1, seconds=0.1)).seconds == COST.seconds / 2


def test_a_tenth_of_the_rounds_is_saved_until_it_is_used() -> None:
    saved = SavedTime()
    saved.add(10.0)
    saved.add(20.0)
    assert saved.seconds == pytest.approx(3.0)
    saved.spend(3.5)
    assert saved.seconds == pytest.approx(-0.5)
    for _ in range(100):
        saved.add(10.0)
    assert saved.seconds == pytest.approx(5.0)  # never more than half a round
    saved.add(1.0)
    assert saved.seconds == pytest.approx(5.0)
    assert saved.said() == ""
    saved.skip(4, TOO_DEAR)
    assert saved.said() == "round 4 was not scored, to stay within a tenth of the rounds' time"
    assert saved.said() == ""
    for round_ in (6, 7, 8):
        saved.skip(round_, NOT_READY)
    assert saved.said() == "rounds 6 to 8 were not scored, while the app was opened for it"


@pytest.mark.parametrize("budget", [{"max_evaluations": 0}, {"max_seconds": 0}, {"every": 0}])
def test_a_budget_of_nothing_is_refused(budget: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="greater than"):
        rules(**budget)
