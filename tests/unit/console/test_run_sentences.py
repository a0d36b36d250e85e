"""A run in one sentence: its state is said once."""

from __future__ import annotations

import pytest

from fedops.console.runs import run_sentence
from fedops.core.contracts import RunRead


@pytest.mark.parametrize(
    ("status", "why", "text"),
    [
        (
            "running",
            "round 2 of 5: training, 0 of 2 replied",
            "Run 3 is running: round 2 of 5: training, 0 of 2 replied",
        ),
        (
            "failed",
            "failed (app_error) after round 2 of 5: no such column",
            "Run 3 failed (app_error) after round 2 of 5: no such column",
        ),
        ("completed", "completed 5 rounds", "Run 3 completed 5 rounds"),
        ("stopped", "stopped after round 2 of 5", "Run 3 stopped after round 2 of 5"),
        ("paused", "paused after round 2 of 5", "Run 3 is paused after round 2 of 5"),
        ("stopping", "stopping: waiting for pi", "Run 3 is stopping: waiting for pi"),
        ("pausing", "pausing 1 of 2: waiting for pi", "Run 3 is pausing 1 of 2: waiting for pi"),
        (
            "running",
            "the server's disk is full (/x): free some space",
            "Run 3 is running: the server's disk is full (/x): free some space",
        ),
    ],
)
def test_a_state_is_said_once(status: str, why: str, text: str) -> None:
    assert run_sentence(RunRead.model_construct(id=3, status=status, why=why)) == text
