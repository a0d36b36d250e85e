"""Keeps the rollouts of all tasks going, and that of FedOps: at a steady beat, and when a device speaks."""

from __future__ import annotations

import time
from collections.abc import Callable

from fedops.server.database.database import Database
from fedops.server.delivery.rollouts.converging import Rollouts
from fedops.server.delivery.upgrades.upgrading import Upgrades
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.periodic import PeriodicJob
from fedops.server.tasks.app_bundles import config_from
from fedops.storage.blobs import BlobStore

#: From step to step, if nothing wakes it.
STEP_SECONDS = 1.0
#: A thousand devices that report one after the other are looked at together.
LEAST_SECONDS = 0.3


class RolloutJob:
    """Of several Server Managers that share a database, the one that leads acts."""

    def __init__(
        self,
        db: Database,
        store: BlobStore,
        *,
        clock: Callable[[], float] = time.time,
        leadership: Leadership | None = None,
    ) -> None:
        self._leadership = leadership or Alone()
        confirm = self._leadership.confirm
        self._rollouts = Rollouts(db, config_from(store), clock=clock, confirm=confirm)
        self._upgrades = Upgrades(db, clock=clock, confirm=confirm)
        self.worker = PeriodicJob("rollouts", self.step, STEP_SECONDS, least=LEAST_SECONDS)

    def step(self) -> None:
        """One look at every task, and at the devices' FedOps. Called by the worker, or by a test."""
        if self._leadership.leads:
            self._rollouts.step()
            self._upgrades.step()
