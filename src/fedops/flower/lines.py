"""The round engine's lines to the outside: Flower's grid, the Server Manager, and what comes in from both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.run import RunNotRunningException

from fedops.core import contracts as c
from fedops.flower.endings import Lost
from fedops.flower.fetcher import Fetcher
from fedops.flower.inbox import Inbox, SignalSource
from fedops.flower.patience import PATIENCE_SECONDS, Patience

T = TypeVar("T")


class EngineApi(SignalSource, Protocol):
    """What the engine asks of the Server Manager: ``api.EngineClient``. All of it is safe to repeat."""

    def hello(self, body: c.EngineHello) -> c.AttemptSpec: ...
    def initial_model(self, body: c.ModelInit) -> None: ...
    def upload(self, file: Path) -> c.ArtifactRef: ...
    def download(self, ref: c.ArtifactRef, target: Path) -> Path: ...
    def candidates(self) -> c.Candidates: ...
    def progress(self, body: c.EngineProgress) -> None: ...
    def begin_round(self, round_: int, body: c.RoundBegin) -> None: ...
    def ring(self, body: c.Ring) -> None: ...
    def pulled(self, reply_to: str) -> None: ...
    def commit(self, body: c.RoundCommit) -> c.CommitReply: ...
    def finish(self, body: c.EngineFinish) -> None: ...


@dataclass(frozen=True)
class Lines:
    """One attempt's lines. ``open`` them."""

    grid: Grid
    api: EngineApi
    patience: Patience
    inbox: Inbox
    fetcher: Fetcher

    @classmethod
    def open(cls, grid: Grid, api: EngineApi, patience_seconds: float = PATIENCE_SECONDS) -> Lines:
        """Begin to listen."""
        patience = Patience(patience_seconds)
        inbox = Inbox(api, grid, patience_seconds)
        inbox.open(on_end=patience.end)
        return cls(grid, api, patience, inbox, Fetcher(grid, api.pulled, inbox.post))

    def close(self) -> None:
        self.inbox.close()

    def ask(self, call: Callable[[EngineApi], T]) -> T:
        """Call the Server Manager, however long it takes to come back."""
        return self.patience.call(lambda: call(self.api))

    def tell(self, progress: c.EngineProgress) -> None:
        """Say what the engine is doing; lost while the Server Manager is away."""
        self.patience.try_once(lambda: self.api.progress(progress))

    def push(self, messages: Sequence[Message]) -> list[str | None]:
        """Hand messages to Flower and ring for them. None for those it did not take."""
        try:
            # What was not taken has an empty id, or (by Flower's own word) none.
            ids = [id_ or None for id_ in self.grid.push_messages(messages)]
        except (Exception, RunNotRunningException) as error:
            raise Lost(f"Flower does not take messages: {error}") from error
        rung = [
            str(message.metadata.dst_node_id)
            for message, id_ in zip(messages, ids, strict=False)
            if id_ is not None
        ]
        self.ask(lambda api: api.ring(c.Ring(node_ids=rung)))
        return ids or [None] * len(messages)
