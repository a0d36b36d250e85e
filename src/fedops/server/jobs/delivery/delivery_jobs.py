"""The threads that deliver code: one looks at sources, one checks the commits that were found there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from fedops.server.database.database import Database
from fedops.server.delivery.commits.checking import AppChecks
from fedops.server.delivery.commits.preparation import CommitPreparation, Limits
from fedops.server.delivery.repositories.git_command import GitAccess
from fedops.server.delivery.repositories.mirrors import Mirrors
from fedops.server.delivery.sources.looking import SourceWatch
from fedops.server.jobs.delivery.commit_examination import ChildChecks
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.periodic import PeriodicJob
from fedops.settings import ServerSettings
from fedops.storage.blobs import BlobStore

#: From look to look whether something is due. What is asked for wakes them anyway.
STEP_SECONDS = 1.0


class LeaderTransactions:
    """``Transactions`` of the Server Manager that leads."""

    def __init__(self, db: Database, leadership: Leadership) -> None:
        self._db = db
        self._leadership = leadership

    def read(self) -> AbstractContextManager[Session]:
        return self._db.read()

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._db.write() as session:
            self._leadership.confirm(session)
            yield session


class DeliveryJobs:
    """Both of them. Of several Server Managers of a database, the one that leads acts."""

    def __init__(
        self,
        db: Database,
        settings: ServerSettings,
        store: BlobStore,
        *,
        clock: Callable[[], float] = time.time,
        leadership: Leadership | None = None,
        checks: AppChecks | None = None,
    ) -> None:
        self._leadership = leadership or Alone()
        transactions = LeaderTransactions(db, self._leadership)
        mirrors, private = Mirrors(GitAccess.of(settings)), private_folders(settings)
        self.commits = CommitPreparation(
            transactions,
            mirrors,
            checks or ChildChecks(settings),
            store,
            private,
            Limits(settings.max_bundle_bytes, settings.max_commit_bytes),
            clock=clock,
        )
        self._preparing = PeriodicJob("commits", self.check_commits, STEP_SECONDS)
        self.sources = SourceWatch(
            transactions, mirrors, private, clock=clock, found=self._preparing.wake
        )
        self._watching = PeriodicJob("sources", self.look_at_sources, STEP_SECONDS)

    def look_at_sources(self) -> None:
        """One step. Called by the worker, or by a test."""
        if self._leadership.leads:
            self.sources.step()

    def check_commits(self) -> None:
        """One step. Called by the worker, or by a test."""
        if self._leadership.leads:
            self.commits.step()

    def wake(self) -> None:
        """Something was asked for: look now."""
        self._watching.wake()
        self._preparing.wake()

    @property
    def lags(self) -> dict[str, float]:
        return self._watching.lags | self._preparing.lags

    def start(self) -> None:
        self._watching.start()
        self._preparing.start()

    def end(self) -> None:
        """Begin nothing more. Does not wait."""
        self._watching.end()
        self._preparing.end()
        self.sources.close()
        self.commits.close()

    def join(self, seconds: float) -> None:
        """Wait until what goes on has ended, for so long each."""
        self._watching.join(seconds)
        self._preparing.join(seconds)


def private_folders(settings: ServerSettings) -> list[Path]:
    """What no source may name: it would hand out what the server keeps there."""
    return [settings.home, settings.engine_folder]
