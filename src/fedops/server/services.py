"""What the request handlers work with: one set a Server Manager."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedops.core.contracts import DeviceRead, ModelVersionRead, RoundRead, RunRead
from fedops.core.engine import RunEngine
from fedops.core.errors import Forbidden
from fedops.server import devices, models, run_views, runs, tokens
from fedops.server.artifacts import ArtifactStore
from fedops.server.db import Database
from fedops.server.doorbell import Doorbell
from fedops.server.node_auth import NodeAuth
from fedops.server.pulse import Pulse
from fedops.server.tables import TokenKind
from fedops.server.tokens import Principal
from fedops.server.twins import Twins
from fedops.settings import ServerSettings


@dataclass(frozen=True)
class Services:
    """Everything a request may need."""

    settings: ServerSettings
    db: Database
    artifacts: ArtifactStore
    doorbell: Doorbell
    node_auth: NodeAuth
    engine: RunEngine
    pulse: Pulse
    twins: Twins
    clock: Callable[[], float]

    def authenticate(self, secret: str) -> Principal:
        """Whom a token speaks for."""
        with self.db.read() as session:
            return tokens.authenticate(session, secret, self.clock())


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
            return devices.listed(session, self._services.settings, self._services.clock())

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
