"""A round from its updates to its scores."""

from collections.abc import Mapping

import numpy as np
import pytest

from fedops.algorithms.contribution.contribution_history import ContributionHistory, add_round
from fedops.algorithms.contribution.game import BudgetExceeded
from fedops.algorithms.contribution.round_scoring import RoundUpdates, score_round
from fedops.core.errors import Invalid

SIZE = 2_000
RNG = np.random.default_rng(0)
AIM = RNG.normal(size=SIZE)
BEFORE = {"w": np.zeros(SIZE)}


def round_updates(count: int = 8, **more: object) -> RoundUpdates:
    """Honest steps towards the aim; the last client returns the model as it was."""
    steps = [0.3 * AIM + 0.3 * RNG.normal(size=SIZE) for _ in range(count - 1)]
    updates = [{"w": step} for step in [*steps, np.zeros(SIZE)]]
    return RoundUpdates(BEFORE, updates, [10] * count, **more)


def evaluate(model: Mapping[str, np.ndarray]) -> list[float]:
    """The whole, then two halves as if they were classes."""
    squares = -((model["w"] - AIM) ** 2) / SIZE
    return [squares.sum(), squares[: SIZE // 2].sum(), squares[SIZE // 2 :].sum()]


def test_everything_of_a_round() -> None:
    gradients = [{"w": -2 * AIM / SIZE}]
    scores = score_round(
        round_updates(gradients=gradients), evaluate, 256, np.random.default_rng(0)
    )
    assert scores.choice.method == "shapley"
    assert scores.value is not None
    assert scores.dig_fl is not None
    assert scores.value.exact
    assert scores.value.by_class.sum(1) == pytest.approx(scores.value.values)
    assert scores.value.values.argmin() == scores.dig_fl.values.argmin() == 7
    assert scores.cgsv.values[7] == 0
    assert [bool(one.findings) for one in scores.judgements] == [False] * 7 + [True]
    removal = [one.evidence.removal for one in scores.judgements]
    assert removal[7] < 0 < min(removal[:7])


@pytest.mark.parametrize(
    ("budget", "method"), [(60, "kernel_shap"), (20, "guided_permutations"), (9, None)]
)
def test_what_the_budget_allows(budget: int, method: str | None) -> None:
    asked = []
    scores = score_round(
        round_updates(),
        lambda model: asked.append(1) or evaluate(model),
        budget,
        np.random.default_rng(0),
    )
    assert scores.choice.method == method
    assert len(asked) <= budget
    assert (scores.value is None) == (method is None)
    assert scores.dig_fl is None
    assert len(scores.judgements) == 8


def test_where_nobody_can_evaluate_the_directions_remain() -> None:
    scores = score_round(round_updates(), None, 100, np.random.default_rng(0))
    assert scores.value is None
    assert "nobody can evaluate a model" in scores.choice.reason
    assert scores.judgements[7].findings[0].name == "free_rider"


def test_the_same_seed_gives_the_same_round() -> None:
    given = round_updates()
    first, second = (score_round(given, evaluate, 60, np.random.default_rng(5)) for _ in range(2))
    assert first.value is not None
    assert second.value is not None
    assert first.value.table.tobytes() == second.value.table.tobytes()
    assert first.judgements == second.judgements


def test_a_round_goes_into_a_history() -> None:
    names = [f"pi-{i}" for i in range(8)]
    history = ContributionHistory()
    for round_ in (1, 2):
        scores = score_round(round_updates(), evaluate, 60, np.random.default_rng(round_))
        history = add_round(history, round_, names, scores.value, scores.judgements)
    assert history.clients["pi-7"].integrity.findings[0].name == "free_rider"
    assert history.clients["pi-0"].participations == 2


def test_mistakes() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(Invalid, match="did you mean 'shapley'"):
        score_round(round_updates(), evaluate, 100, rng, "shaply")
    with pytest.raises(BudgetExceeded, match="'shapley' needs 256 evaluations"):
        score_round(round_updates(), evaluate, 100, rng, "shapley")
    with pytest.raises(Invalid, match="budget of at least 1"):
        score_round(round_updates(), evaluate, 0, rng)
