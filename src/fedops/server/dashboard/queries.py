"""What the pages show a user: each method is one read transaction, of their tasks and no others."""

from __future__ import annotations

from fedops.core.contracts import DeviceRead, ModelVersionRead, RoundRead, RunRead
from fedops.server.access.principal import Principal
from fedops.server.dashboard.page_gate import session_principal
from fedops.server.devices import registry
from fedops.server.models import versions
from fedops.server.runs import control, views
from fedops.server.services.services import Services


class DashboardSource:
    """What the pages show."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def principal(self, secret: str | None) -> Principal | None:
        """Whose session it is, as long as it is one."""
        return await session_principal(self._services.token_cache, secret)

    @property
    def insecure(self) -> bool:
        """Whether others can reach the server, and nobody encrypts."""
        return self._services.settings.is_insecure

    def devices(self, who: Principal) -> list[DeviceRead]:
        services = self._services
        with services.db.read() as session:
            return registry.list_devices(session, services.clock(), within=who.tasks)

    def runs(self, who: Principal, limit: int) -> list[RunRead]:
        services = self._services
        with services.db.read() as session:
            ids = control.run_ids(session, None, limit, who.tasks)
            return views.read_runs(session, ids, services.settings, services.clock(), who.tasks)

    def rounds(self, run: RunRead) -> list[RoundRead]:
        """Of a run that ``runs`` has shown."""
        with self._services.db.read() as session:
            return views.read_rounds(session, run.id)

    def versions(self, run: RunRead) -> list[ModelVersionRead]:
        """Of the task of a run that ``runs`` has shown."""
        with self._services.db.read() as session:
            return versions.list_versions(session, run.task)
