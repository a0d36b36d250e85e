"""What will happen in a run, in one line."""

import pytest

from fedops.core.reasons.plan import RunPlan, plan_text


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (
            RunPlan(5, 5, 3, 10),
            "5 devices ready, all 5 each round, 10 rounds, a round counts with 3",
        ),
        (
            RunPlan(5, 1, 1, 2),
            "5 devices ready, 1 of your 5 devices each round, 2 rounds, a round counts with 1",
        ),
        (
            RunPlan(1, 1, 1, 1),
            "1 device ready, it takes part in each round, 1 round, a round counts with 1",
        ),
        (
            RunPlan(5, 5, 5, 10, min_replies=9),
            "5 devices ready, all 5 each round, 10 rounds, a round counts with 5 "
            "(min_replies is 9, but no more are asked)",
        ),
        (RunPlan(2, 5, 3, 4), "2 devices ready, a round asks 5, 4 rounds, a round counts with 3"),
        (
            RunPlan(4, 4, 3, 10, 1),
            "4 devices train, 1 evaluates only, all 4 each round, 10 rounds, a round counts with 3",
        ),
        (
            RunPlan(1, 1, 1, 1, 2),
            "1 device trains, 2 evaluate only, it takes part in each round, 1 round, a round counts with 1",
        ),
        (
            RunPlan(1, 1, 1, 1, notes=("from V1, as V2 is quarantined",)),
            "1 device ready, it takes part in each round, 1 round, a round counts with 1;"
            " from V1, as V2 is quarantined",
        ),
        (RunPlan(0, 2, 2, 4), "0 devices ready, a round asks 2, 4 rounds, a round counts with 2"),
    ],
)
def test_the_plan_is_one_line(plan: RunPlan, text: str) -> None:
    assert plan_text(plan) == text
