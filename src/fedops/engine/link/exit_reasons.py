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


def too_few_replies(
    round_: int, got: str, missing: Mapping[str, str], *, fault_of_app: bool
) -> RunFailed:
    """``got``: how many there are, of how many; ``missing``: why the others' are not there, by name."""
    reason = FailureReason.APP_ERROR if fault_of_app else FailureReason.TOO_FEW_CLIENTS
    causes = "; ".join(f"{name}: {why}" for name, why in sorted(missing.items()))
    return RunFailed(reason, f"round {round_} got {got}: {causes or 'nobody was asked'}"[:4_000])


def heed(command: str) -> None:
    """Go on, or ``StopRequested``."""
    if command in COMMAND_OUTCOMES:
        raise StopRequested(COMMAND_OUTCOMES[command])
