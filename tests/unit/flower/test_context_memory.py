"""A stock node's memory: in its context, by run and round."""

from __future__ import annotations

import numpy as np
from fedops.flower.context_memory import STATES_KEPT, ContextMemory
from flwr.app import ConfigRecord, RecordDict


def tensors(value: float) -> dict[str, np.ndarray]:
    return {"own": np.full((2, 3), value, np.float32)}


def test_a_round_starts_from_the_last_one_before_it() -> None:
    state = RecordDict({"mine": ConfigRecord({"a": 1})})
    for round_ in range(3):
        ContextMemory(state).save_state(7, round_, tensors(round_))
    memory = ContextMemory(state)
    for round_ in (1, 2, 3):
        found = memory.load_state(7, round_)
        assert found is not None
        assert found["own"].tobytes() == tensors(round_ - 1)["own"].tobytes()
    assert memory.load_state(7, 0) is None
    assert memory.load_state(8, 3) is None
    assert "mine" in state


def test_only_the_last_rounds_are_kept() -> None:
    state = RecordDict()
    memory = ContextMemory(state)
    for round_ in range(10):
        memory.save_state(7, round_, tensors(round_))
    assert len(state) == STATES_KEPT
    assert memory.load_state(7, 10) is not None
