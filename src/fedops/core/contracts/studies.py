"""Studies: runs of a task that differ in their seed alone; and what a run would take before it is started."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fedops.core.contracts.base import Override, Reply, Request
from fedops.core.contracts.runs import RunRead

Seed = Annotated[int, Field(ge=0, lt=2**63)]
MAX_SEEDS = 1_000


class StudyStart(Request):
    """One run for each seed, one after another.

    ``from_version`` None: each begins with an initial model that its own seed makes.
    """

    #: How many seeds, counted up from the config's ``random_seed``; or the seeds themselves.
    seeds: (
        Annotated[int, Field(ge=1, le=MAX_SEEDS)]
        | Annotated[list[Seed], Field(min_length=1, max_length=MAX_SEEDS)]
    )
    overrides: list[Override] = Field(default_factory=list)
    from_version: int | None = Field(default=None, ge=0)


class StudyRead(Reply):
    id: int
    task: str
    seeds: list[int]
    from_version: int | None
    overrides: list[str]
    created_at: float
    #: From when on it begins no more runs, and why.
    closed_at: float | None
    text: str
    #: Its runs, oldest first, those that retry others too.
    runs: list[RunRead]


class DeviceForecast(Reply):
    """A device of the task, before a run."""

    device: str
    #: Why it could not be asked now; None: it could.
    unavailable: str | None
    #: How many examples it trained on last in this task, and in which run; without a run: as many as it
    #: says that it has. None: neither is known.
    examples: int | None = None
    examples_run: int | None = None


class RunForecast(Reply):
    """What a run would be, had it been started now. Sizes and times are None where nothing is known yet."""

    task: str
    #: ``5 devices ready, all 5 each round, 10 rounds, a round counts with 3``.
    plan: str
    rounds: int
    #: How many clients a round asks, and with how many updates it counts.
    asked: int
    counts_with: int
    devices: list[DeviceForecast]
    seed: int
    bundle: str
    #: The version that it starts from; None: an initial model is made from the seed.
    from_version: int | None
    config: dict[str, Any]
    #: Of the model as a device fetches it, and of an update as it sends it.
    bytes_down: int | None = None
    bytes_up: int | None = None
    #: Where ``bytes_up`` is from: "measured in run 7", "the parameter contract, not compressed".
    bytes_from: str = ""
    #: Seconds of a round (median), measured in so many rounds of a run.
    round_seconds: float | None = None
    measured_rounds: int = 0
    measured_run: int | None = None
    #: Seconds of that run before its first round and after its last: its FL server starts and ends.
    outside_seconds: float = 0.0

    @property
    def bytes_a_device(self) -> int | None:
        """What goes over a device's network if it takes part in every round, both ways.

        The last model is fetched once more, to be evaluated.
        """
        if self.bytes_down is None or self.bytes_up is None:
            return None
        return self.rounds * (self.bytes_down + self.bytes_up) + self.bytes_down

    @property
    def total_bytes(self) -> int | None:
        """What goes over the server's network, for the clients that rounds ask."""
        each = self.bytes_a_device
        return None if each is None else each * self.asked

    @property
    def total_seconds(self) -> float | None:
        """From the start of a run to its end."""
        if self.round_seconds is None:
            return None
        return self.round_seconds * self.rounds + self.outside_seconds
