"""What a selector sees of a device, and what it decided on each."""

from __future__ import annotations

from pydantic import Field

from fedops.core.contracts.base import Finite, Reply, Report, Said, ShortText


class IntegrityFlag(Reply):
    """A reason to distrust the updates of a device, with the evidence."""

    #: What it is suspected of, in one word ("replay").
    kind: ShortText
    reason: Said = Field(max_length=1_000)
    round: int | None = None


class Candidate(Reply):
    """A device that could take part in the next round, with its history; what is not known is None."""

    device: str
    node_id: str
    #: None when it can be invited now, else why not ("offline, last seen 41 s ago").
    unavailable: str | None = None
    #: Whether it has data to evaluate on and none to train on; None: it has not said so.
    evaluates_only: bool | None = None
    #: How many examples it has to train on, by its own word; None: it has not said so.
    examples: int | None = None
    #: Another run that the device works for now: it is a selector's last choice.
    busy_with: int | None = None
    #: How long its training client has had nothing in hand. Seconds; 0 while it works or is not known.
    idle_seconds: float = 0.0
    #: For how many committed rounds of the run it was invited, whatever came of it; the last of them.
    rounds_invited: int = 0
    last_invited: int | None = None
    #: In how many of them it replied, and in which one last.
    rounds_taken: int = 0
    last_round: int | None = None
    last_seconds: float | None = None
    last_loss: float | None = None
    #: How long a round takes it: the mean of its last rounds, the later the more it counts. Seconds.
    round_seconds: float | None = None
    #: How long a round would take it, as a benchmark on the device has it. Seconds.
    bench_seconds: float | None = None
    #: What a round of it was worth on average, relative to the other updates of the round, with the standard
    #: error, over so many scored rounds.
    value: float | None = None
    value_error: float | None = None
    rounds_scored: int = 0
    flags: list[IntegrityFlag] = Field(default_factory=list)


class SelectionDecision(Report):
    """Why a candidate was chosen for a round, or was not."""

    device: str
    chosen: bool
    #: One sentence.
    reason: Said = Field(max_length=2_000)
    #: By what the candidates were ordered, where they were, and of what it was made.
    score: Finite | None = None
    parts: dict[str, Finite] = Field(default_factory=dict)
