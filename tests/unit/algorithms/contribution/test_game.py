"""What is evaluated, how often, and what is refused."""

from collections.abc import Sequence

import numpy as np
import pytest
from known_games import THREE, three

from fedops.algorithms.contribution.coalitions import gray_order, members, membership
from fedops.algorithms.contribution.game import BudgetExceeded, Game
from fedops.core.errors import Invalid


class Recorder:
    """A utility that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, coalitions: Sequence[int]) -> list[float]:
        self.asked += coalitions
        return [THREE[c] for c in coalitions]


def test_a_coalition_is_evaluated_once() -> None:
    utility = Recorder()
    game = Game(3, utility)
    game.payoffs([1, 3, 1])
    game.payoffs([3, 7])
    assert sorted(utility.asked) == [1, 3, 7]
    assert game.evaluations == 3
    assert game.cost_of([1, 7, 6]) == 1


def test_answers_are_in_the_order_of_the_question() -> None:
    assert three().payoffs([7, 0, 2, 7])[:, 0].tolist() == [0.75, 0.10, 0.50, 0.75]
    assert three().gains([7, 2])[:, 0] == pytest.approx([0.65, 0.40])


def test_neighbours_are_asked_one_after_the_other() -> None:
    utility = Recorder()
    Game(3, utility).payoffs(range(8))
    steps = zip(utility.asked, utility.asked[1:], strict=False)
    assert [(a ^ b).bit_count() for a, b in steps] == [1] * 7


def test_the_budget_is_kept_to_the_last_evaluation() -> None:
    game = three(budget=3)
    game.payoffs([0, 7, 1])
    game.payoffs([0, 7, 1])
    with pytest.raises(BudgetExceeded, match="1 more evaluations are needed, and 0 of 3 are left"):
        game.payoff(2)


def test_nothing_is_evaluated_when_not_all_of_it_can_be() -> None:
    game = three(budget=2)
    with pytest.raises(BudgetExceeded):
        game.payoffs([1, 2, 3])
    assert game.evaluations == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_utility_that_is_no_number_is_named(bad: float) -> None:
    game = Game(3, lambda coalitions: [bad if c == 5 else 0.0 for c in coalitions])
    with pytest.raises(Invalid, match=r"clients \[0, 2\] is not a finite number"):
        game.payoffs([1, 5])


def test_mistakes() -> None:
    with pytest.raises(Invalid, match="at least one client"):
        Game(0, lambda c: c)
    with pytest.raises(Invalid, match="at least 1 evaluation, not 0"):
        Game(2, lambda c: c, 0)
    with pytest.raises(Invalid, match="2 clients and 1 weights"):
        Game(2, lambda c: c, weights=[1.0])
    with pytest.raises(Invalid, match="gave 1 rows for 2 coalitions"):
        Game(2, lambda c: [1.0]).payoffs([1, 2])


def test_classes_come_with_the_same_evaluations() -> None:
    game = Game(2, lambda coalitions: [[c, 2 * c, 3 * c] for c in coalitions])
    assert game.payoffs([1, 3]).tolist() == [[1, 2, 3], [3, 6, 9]]
    assert game.evaluations == 2


def test_coalitions_of_more_clients_than_a_machine_word_has_bits() -> None:
    big = 1 << 200 | 1
    assert list(members(big)) == [0, 200]
    assert membership([big], 201).sum() == 2
    assert gray_order([big, 1]) == [1, big]
