"""The ways in which an attempt ends before its last round, beside ``AttemptSuperseded``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fedops.core.states import FailureReason

Outcome = Literal["stopped", "paused"]
#: What a command of the Server Manager makes of the attempt.
COMMAND_OUTCOMES: Mapping[str, Outcome] = {"stop": "stopped", "pause": "paused"}


class StopRequested(Exception):
    """The Server Manager wants the attempt to end: the run is stopped or paused."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome: Outcome = outcome


class RunFailed(Exception):
    """The run cannot go on. The text is for its owner."""

    def __init__(self, reason: FailureReason, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


def heed(command: str) -> None:
    """Go on, or ``StopRequested``."""
    if command in COMMAND_OUTCOMES:
        raise StopRequested(COMMAND_OUTCOMES[command])
