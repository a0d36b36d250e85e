"""The round engine's one line to the outside: what it asks the Server Manager, and how."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self, TypeVar

from fedops.core import contracts as c
from fedops.core.backoff import pauses
from fedops.engine.link.progress_report import ProgressReport
from fedops.waiting import outlast

logger = logging.getLogger("fedops.engine")
T = TypeVar("T")


#: How long an unreachable Server Manager is waited for. Seconds.
RETRY_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class EngineApi(Protocol):
    """The engine's port: what it asks of who runs it. All of it may be repeated.

    ``api_client.EngineClient`` asks a Server Manager; ``flower.grid.node_server`` answers for Flower's nodes.
    """

    def hello(self, body: c.EngineHello) -> c.AttemptSpec: ...
    def initial_model(self, body: c.ModelInit) -> None: ...
    def hand_over(self, body: c.BlobHandover) -> c.BlobRef: ...
    def fetch_blob(self, ref: c.BlobRef, target: Path) -> Path: ...
    def candidates(self) -> c.Candidates: ...
    def progress(self, body: c.EngineProgress) -> None: ...
    def begin_round(self, round_: int, body: c.RoundBegin) -> c.Offered: ...
    def offer(self, body: c.OfferBatch) -> c.Offered: ...
    def collect(self, body: c.CollectRequest) -> c.Collected: ...
    def cancel(self, body: c.CancelRequest) -> None: ...
    def commit(self, body: c.RoundCommit) -> c.CommitReply: ...
    def scores(self, body: c.RoundScores) -> None: ...
    def logs(self, body: c.EngineLogs) -> None: ...
    def finish(self, body: c.EngineFinish) -> None: ...


class ServerLink:
    """One attempt's line. Knows which round is going on."""

    def __init__(self, api: EngineApi, retry_seconds: float = RETRY_SECONDS) -> None:
        self.round: int | None = None
        self._api = api
        self._retry_seconds = retry_seconds
        self._report = ProgressReport(api.progress)
        self._last: c.EngineProgress | None = None

    def close(self) -> None:
        self._report.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, call: Callable[[EngineApi], T]) -> T:
        """Call the Server Manager, however long it takes to come back.

        Raises:
            AttemptSuperseded: this attempt does not count any more.
            Unavailable: the Server Manager stayed away for too long.
        """
        return outlast(
            lambda: call(self._api),
            self._retry_seconds,
            pauses=pauses(_FIRST_PAUSE, _LONGEST_PAUSE),
            say=lambda why: logger.warning("%s; trying again", why),
        )

    def tell(self, progress: c.EngineProgress) -> None:
        """Say what the engine is doing. Takes no time, and may get lost."""
        self.round = progress.round
        self._last = progress
        self._report.say(progress)

    def tell_shortage(self, text: str) -> None:
        """Say what the server lacks for what the engine does."""
        if self._last is not None:
            self.tell(self._last.model_copy(update={"shortage": text[:500]}))
