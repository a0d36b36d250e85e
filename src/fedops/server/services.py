"""What the request handlers work with: one set a Server Manager."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fedops.core.contracts import DeviceRead, ModelVersionRead, RoundRead, RunRead, TransferSlot
from fedops.core.errors import Forbidden
from fedops.server import devices, models, run_views, runs
from fedops.server.artifacts import ArtifactStore
from fedops.server.db import Database
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.server.leadership import Leadership
from fedops.server.others import Others
from fedops.server.presence import Presence
from fedops.server.rounds.attempt_inbox import AttemptInboxes
from fedops.server.rounds.engine_liveness import Pulse
from fedops.server.rounds.instructions import Instructions
from fedops.server.rounds.work_hub import WorkHub
from fedops.server.tables import TokenKind
from fedops.server.token_cache import TokenCache
from fedops.server.tokens import Principal
from fedops.server.twins import Twins
from fedops.server.wanted_states import WantedStates
from fedops.server.writer import Writer
from fedops.settings import ServerSettings


@dataclass(frozen=True)
class Services:
    """Everything a request may need."""

    settings: ServerSettings
    db: Database
    writer: Writer
    artifacts: ArtifactStore
    engines: EngineProcesses
    pulse: Pulse
    twins: Twins
    clock: Callable[[], float]
    token_cache: TokenCache
    presence: Presence
    hub: WorkHub
    inboxes: AttemptInboxes
    instructions: Instructions
    wanted: WantedStates
    slots: Slots
    others: Others
    leadership: Leadership

    def authenticate(self, secret: str) -> Principal:
        """Whom a token speaks for."""
        return self.token_cache.known(secret) or self.token_cache.look_up(secret)

    @property
    def engine_why(self) -> str:
        """One sentence on the FL servers, for operators."""
        if self.leadership.leads:
            return self.engines.why()
        return "another Server Manager of this database starts the FL servers"

    def let_go(self) -> None:
        """Answer everybody who waits for news, now and from now on: the server is ending."""
        self.hub.close()
        self.inboxes.close()


class Slots(Protocol):
    """Leave to upload, a few at a time."""

    async def acquire(self, holder: str, wait: float) -> TransferSlot: ...

    def release(self, holder: str) -> None: ...


class DashboardSource:
    """What the pages show: each method is one read transaction."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def sign_in(self, token: str) -> None:
        """``Forbidden`` unless it is a valid admin token."""
        if self._services.authenticate(token).kind is not TokenKind.ADMIN:
            raise Forbidden("signing in takes the admin token")

    def devices(self) -> list[DeviceRead]:
        with self._services.db.read() as session:
            return devices.listed(session, self._services.clock())

    def runs(self, limit: int) -> list[RunRead]:
        services = self._services
        with services.db.read() as session:
            ids = runs.ids(session, None, limit)
            return run_views.several(session, ids, services.settings, services.clock())

    def rounds(self, run_id: int) -> list[RoundRead]:
        with self._services.db.read() as session:
            return run_views.rounds(session, run_id)

    def versions(self, task: str) -> list[ModelVersionRead]:
        with self._services.db.read() as session:
            return models.listed(session, task)
