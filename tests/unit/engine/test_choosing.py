"""The pools of a round: free devices before those that failed, and those before the busy ones."""

import numpy as np
from candidates import candidate

from fedops.algorithms.selection.selector import RoundAhead
from fedops.algorithms.selection.uniform import UniformSelector
from fedops.engine.choosing import Choice, draw_clients

FREE = [candidate("a"), candidate("b")]
FAILED = [candidate("c"), candidate("d")]
BUSY = [candidate("e", busy_with=8)]


def drawn(count: int) -> Choice:
    ahead, rng = RoundAhead(1, 5, count), np.random.default_rng(1)
    return draw_clients(UniformSelector(), [FREE, FAILED, BUSY], count, ahead, rng)


def test_the_next_pool_is_looked_at_only_when_the_one_before_is_used_up() -> None:
    assert set(drawn(1).chosen) < {"a", "b"}
    assert set(drawn(2).chosen) == {"a", "b"}
    assert {"a", "b"} < set(drawn(3).chosen) < {"a", "b", "c", "d"}
    assert set(drawn(9).chosen) == {"a", "b", "c", "d", "e"}


def test_nobody_is_chosen_for_no_place() -> None:
    assert drawn(0).chosen == {}
    assert len(list(drawn(0).decisions())) == 5


def test_there_is_a_decision_on_every_candidate_with_a_sentence() -> None:
    choice = drawn(1)
    said = {one.device: one for one in choice.decisions()}
    assert set(said) == {"a", "b", "c", "d", "e"}
    assert {name: one.reason for name, one in said.items() if one.chosen} == choice.chosen
    assert said["c"].reason == "was asked in this round before: those that were not are enough"
    assert said["e"].reason == "works for run 8: those that are free were enough"
