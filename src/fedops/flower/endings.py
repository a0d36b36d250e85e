"""The ways in which an attempt ends before its last round."""

from __future__ import annotations

from typing import Literal

from fedops.core.states import FailureReason


class Leave(Exception):
    """The Server Manager wants the attempt to end: the run is stopped or paused."""

    def __init__(self, outcome: Literal["stopped", "paused"]) -> None:
        super().__init__(outcome)
        self.outcome: Literal["stopped", "paused"] = outcome


class RunFailed(Exception):
    """The run cannot go on. The text is for its owner."""

    def __init__(self, reason: FailureReason, text: str) -> None:
        super().__init__(text)
        self.reason, self.text = reason, text


class Superseded(Exception):
    """Another attempt of the run is current, or the run is over: nothing of ours counts any more."""


class Lost(Exception):
    """Flower does not serve this attempt any more. Another one may continue the run."""
