"""Which app the training client runs; another one only for good once it has said that it is ready."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fedops.client.device.data_dir import DataDir
from fedops.client.device.remembered_app import RememberedApp
from fedops.client.supervision.process_run import Program
from fedops.client.supervision.training_program import AppPlace, TrainingPrograms
from fedops.client.work.reachability import Over
from fedops.core.contracts import ProcessReport
from fedops.core.errors import FedOpsError
from fedops.core.states import PROCESS_READY
from fedops.waiting import Timeout

logger = logging.getLogger("fedops.client")

_LOOK_SECONDS = 0.2


class Supervised(Protocol):
    """The training client: ``supervision.Supervisor``."""

    def change(self, program: Program, reason: str) -> None: ...

    def settled(self, program: Program, seconds: float) -> ProcessReport | None: ...


@dataclass(frozen=True)
class RunningApp:
    """The training client, whichever app it runs."""

    home: DataDir
    programs: TrainingPrograms
    supervisor: Supervised
    #: How long it may take until it is ready.
    seconds: float

    def run(self, app: AppPlace, reason: str) -> str | Program:
        """Run an app from now on; why that cannot be, or what runs."""
        try:
            program = self.programs.of(app)
        except FedOpsError as error:
            return error.message
        self.supervisor.change(program, reason)
        return program

    def try_run(self, app: AppPlace, reason: str, over: Callable[[], bool]) -> str:
        """Run an app, and wait until it is ready. Why it is not; "" when it is.

        Raises:
            Over: this process ends.
        """
        found = self.run(app, reason)
        if isinstance(found, str):
            return found
        timeout = Timeout(self.seconds)
        while not timeout.is_over:
            if over():
                raise Over
            report = self.supervisor.settled(found, _LOOK_SECONDS)
            if report is not None and report.status in PROCESS_READY:
                return ""
            if report is not None:
                return report.reason or "it ended as soon as it was started"
        return f"it was not ready within {self.seconds:.0f} s (FEDOPS_CLIENT_START_SECONDS)"

    def rest(self, why: str) -> None:
        """Run nothing from now on."""
        self.supervisor.change(self.programs.none(why), why)

    def remember(self, app: AppPlace, task: str) -> None:
        """For commands that are given beside the Client Manager, such as ``fedops client evaluate``."""
        python = str(app.python) if app.python else ""
        overrides = [*self.programs.overrides]
        try:
            RememberedApp(str(app.app_dir), overrides, [task], python).save(self.home)
        except OSError as error:  # those commands take the one before, and say which
            logger.warning("cannot write %s: %s", self.home.app, error.strerror)
