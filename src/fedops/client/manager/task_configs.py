"""Tells the training client what it is to be ready for: asked of the server when that may have changed."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from fedops.api_client import DeviceClient
from fedops.client.local.messages import TaskConfigs
from fedops.client.work.reconciler import Reconciler
from fedops.core.contracts import Work
from fedops.core.errors import FedOpsError, NotFound
from fedops.processes.threads import in_thread

logger = logging.getLogger("fedops.client")

#: While something is refused, the config of a task may be corrected at any time. Seconds.
REFUSED_SECONDS = 30.0


class TaskConfigsTeller:
    """``heed`` is called with each answer of the server, by one thread at a time; it never waits."""

    def __init__(
        self, server: DeviceClient, reconciler: Reconciler, refuses: Callable[[], bool]
    ) -> None:
        self._server = server
        self._reconciler = reconciler
        self._refuses = refuses
        self._busy = threading.Lock()
        self._told: object = None

    def heed(self, work: Work) -> None:
        """Tell it when tasks, runs or the training client are others than when it was told last."""
        tick = int(time.monotonic() / REFUSED_SECONDS) if self._refuses() else 0
        wanted = (tuple(work.tasks), tuple(work.runs), self._reconciler.training_url, tick)
        if not work.tasks or wanted[2] is None or wanted == self._told:
            return
        if self._busy.acquire(blocking=False):
            in_thread(self._tell, wanted, name="configs")

    def _tell(self, wanted: object) -> None:
        try:
            self._reconciler.tell(self._configs())
            self._told = wanted
        except FedOpsError as error:
            logger.debug("the training client is not told its tasks: %s", error.message)
        finally:
            self._busy.release()

    def _configs(self) -> TaskConfigs:
        configs = {}
        with contextlib.suppress(NotFound):  # a server that is older than this
            configs = {one.task: one.config for one in self._server.configs()}
        return TaskConfigs(configs=configs)
