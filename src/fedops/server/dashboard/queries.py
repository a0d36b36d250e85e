"""What the pages show: each method is one read transaction."""

from __future__ import annotations

from fedops.core.contracts import DeviceRead, ModelVersionRead, RoundRead, RunRead
from fedops.core.errors import Forbidden
from fedops.core.states import TokenKind
from fedops.server.devices import registry
from fedops.server.models import versions
from fedops.server.runs import control, views
from fedops.server.services.services import Services


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
            return registry.list_devices(session, self._services.clock())

    def runs(self, limit: int) -> list[RunRead]:
        services = self._services
        with services.db.read() as session:
            ids = control.run_ids(session, None, limit)
            return views.read_runs(session, ids, services.settings, services.clock())

    def rounds(self, run_id: int) -> list[RoundRead]:
        with self._services.db.read() as session:
            return views.read_rounds(session, run_id)

    @property
    def insecure(self) -> bool:
        return self._services.settings.is_insecure

    def versions(self, task: str) -> list[ModelVersionRead]:
        with self._services.db.read() as session:
            return versions.list_versions(session, task)
