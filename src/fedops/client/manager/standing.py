"""What the server makes of this device: it waits for an operator, takes it, or wants nothing of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from fedops.client.device.data_dir import DataDir, Identity
from fedops.core.contracts import Work
from fedops.core.errors import FedOpsError, Forbidden, Invalid, NotFound
from fedops.core.states import ENROLMENT_OUT, Enrolment
from fedops.processes.log_context import always_about

logger = logging.getLogger("fedops.client")


class Standing:
    """Says each change of it once. ``end`` is called when there is nothing more to do for the server."""

    def __init__(self, identity: Identity, url: str, end: Callable[[FedOpsError], None]) -> None:
        self.identity = identity
        always_about(device=identity.name)
        self._url = url
        self._end = end
        self._enrolment: Enrolment | None = None
        self._problems: list[str] = []

    def rename(self, name: str, home: DataDir) -> Identity:
        """An operator gave this device another name, which stands in all that it trains."""
        logger.info("the server calls this device '%s' now, not '%s'", name, self.identity.name)
        self.identity = replace(self.identity, name=name)
        always_about(device=name)
        try:
            self.identity.save(home)
        except OSError as error:  # heard again after the next start
            logger.warning("cannot write %s: %s", home.identity, error.strerror)
        return self.identity

    def hear(self, work: Work) -> None:
        """Take what an answer of the server says of this device."""
        if work.enrolment is not self._enrolment:
            self._enrolment = work.enrolment
            self._take_enrolment(work.enrolment)
        for problem in work.problems:
            if problem not in self._problems:
                logger.warning("the server says: %s", problem)
        self._problems = work.problems

    def _take_enrolment(self, enrolment: Enrolment) -> None:
        if enrolment is Enrolment.PENDING:
            logger.info("waiting for an operator: 'fedops device approve %s'", self.identity.name)
        elif enrolment in ENROLMENT_OUT:
            self.refused(
                Forbidden(f"device '{self.identity.name}' was {enrolment} by the operator")
            )

    def refused(self, error: FedOpsError) -> None:
        """The server wants nothing more of us: training stops, and so do we."""
        if isinstance(error, NotFound):
            told = f"the server at {self._url} is older than this device, or no FedOps server"
            error = Invalid(f"{told}: {error.message}; upgrade it, or look whether this is its URL")
        elif isinstance(error, Forbidden):
            error = Forbidden(
                f"training stopped, the server at {self._url} refuses this device: {error.message}; "
                "to join anew, give 'fedops join' another data dir with --home"
            )
        self._end(error)
