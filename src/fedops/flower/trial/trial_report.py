"""What a trial federation is asked, and what it found: the files between ``fedops ci`` and its process."""

from __future__ import annotations

from pydantic import BaseModel, Field


class TrialQuestion(BaseModel):
    """What to play."""

    app_dir: str
    rounds: int = Field(default=2, ge=1)
    #: How many clients. None: two, or as many as the strategy needs.
    clients: int | None = Field(default=None, ge=2)
    #: On how many examples a client trains at most. 0: on all of its part.
    examples: int = Field(default=1_000, ge=0)
    #: How long the clients have for a round. Seconds.
    seconds: float = 600.0
    #: More overrides of the app's config.
    overrides: list[str] = []


class TrialClient(BaseModel):
    """What became of a client in a round, or what it measured of the final model."""

    client: str
    #: How many examples it trained on, or evaluated on.
    examples: int = 0
    #: Why its update is not in the round's model; "": it is.
    lost: str = ""
    metrics: dict[str, float] = {}


class TrialRound(BaseModel):
    """One round."""

    round: int
    #: sha256 of the model that it made.
    model: str
    seconds: float
    clients: list[TrialClient]
    #: Of the model it made, on the app's validation data; empty when the app has none.
    metrics: dict[str, float] = {}


class TrialReport(BaseModel):
    """How it went. ``ok``: every round had all of its clients, and the final model's numbers are finite."""

    ok: bool = False
    clients: int = 0
    #: The strategy that aggregated.
    strategy: str = ""
    rounds: list[TrialRound] = []
    #: Of the final model, as the run would report them: on the app's validation data, else on the clients'.
    metrics: dict[str, float] = {}
    #: The final model on each client's own validation data, else on what it trained on.
    final: list[TrialClient] = []
    seconds: float = 0.0
    problems: list[str] = []
    notes: list[str] = []
