"""An app that was named when the Client Manager was started: nothing is deployed."""

from __future__ import annotations

from pathlib import Path

from fedops.client.deployment.running import RunningApp
from fedops.client.local.messages import AwaitedCommit, DeployedStatus
from fedops.client.supervision.training_program import AppPlace
from fedops.core.contracts import DeploymentReport, Work
from fedops.core.errors import Conflict, Invalid


class GivenApp:
    """Its folder runs as it is."""

    def __init__(self, app_dir: Path, output_dir: str, running: RunningApp) -> None:
        self._app_dir = app_dir
        self._output_dir = output_dir
        self._running = running

    @property
    def folder(self) -> str:
        return str(self._app_dir)

    def start(self) -> None:
        found = self._running.run(
            AppPlace(self._app_dir, output_dir=self._output_dir), "the app runs"
        )
        if isinstance(found, str):
            raise Invalid(found)

    def stop(self) -> None: ...

    def take(self, work: Work) -> None: ...

    def learn(self, fingerprint: str) -> None: ...

    def reports(self) -> list[DeploymentReport]:
        return []

    def status(self) -> DeployedStatus | None:
        return None

    def awaited(self) -> AwaitedCommit:
        raise Conflict(
            f"this Client Manager was started with --app {self._app_dir}: no code comes from the server, and "
            "there is nothing to approve"
        )

    def approve(self, commit: str) -> None:
        self.awaited()
