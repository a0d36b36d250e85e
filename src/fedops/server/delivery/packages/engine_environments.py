"""Environments for FL servers whose task is deployed from Git: of the commit's packages, as its devices have.

Built by a thread of its own; who asks does not wait.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Invalid
from fedops.core.states import CommitStatus
from fedops.environments.building import build_environment, environment_python
from fedops.environments.platform_names import platform_name
from fedops.environments.wheel_store import WheelStore
from fedops.platforms.confinement import show_to_all
from fedops.server.database.database import Database
from fedops.server.database.tables import CommitRow, RunRow
from fedops.storage.blobs import BlobStore

logger = logging.getLogger("fedops.server.engine")

#: What could not be built is tried again after so long. Seconds.
RETRY_SECONDS = 10.0
#: How many environments stay that no run uses now.
KEPT = 3
_CACHE, _WHEELS = ".cache", ".wheels"
Key = tuple[str, str]


class PackagesOfCommits(Protocol):
    """Knows the packages of commits: ``PackagePreparation``."""

    def ensure(self, task: str, commit: str, platform: str) -> c.Packages:
        """Those for a platform, or how far they are."""
        ...


@dataclass(frozen=True)
class EngineEnvironment:
    """Where an FL server is to run."""

    #: Its interpreter. None: the server's own.
    python: Path | None = None
    #: Why it cannot run there yet; "": it can.
    why: str = ""


def servers_own(task: str, bundle: str) -> EngineEnvironment:
    """For every run the server's own environment."""
    return EngineEnvironment()


@dataclass
class _Building:
    future: Future[Path]
    #: When what went wrong is tried again, by ``time.monotonic``.
    again_at: float | None = None


def commit_of_bundle(session: Session, task: str, bundle: str) -> str | None:
    """The commit of a task's source that a bundle was made from; None: it came another way."""
    query = select(CommitRow.commit).where(
        CommitRow.task == task,
        CommitRow.bundle == bundle,
        CommitRow.status == CommitStatus.SOUND,
    )
    return session.scalars(query.order_by(CommitRow.id.desc()).limit(1)).first()


def commits_in_use(session: Session) -> set[Key]:
    """Task and commit of the apps whose runs are not over."""
    same = (RunRow.task == CommitRow.task) & (RunRow.bundle == CommitRow.bundle)
    query = select(CommitRow.task, CommitRow.commit).join(RunRow, same)
    return {(task, commit) for task, commit in session.execute(query.where(_GOES_ON))}


_GOES_ON = RunRow.ended_at.is_(None)


class EngineEnvironments:
    """Asked by one thread, the scheduler's. ``shown``: to another user, who runs the code of apps."""

    def __init__(
        self,
        db: Database,
        packages: PackagesOfCommits,
        store: BlobStore,
        folder: Path,
        *,
        shown: bool = False,
    ) -> None:
        self._db = db
        self._packages = packages
        self._store = store
        self._folder = folder
        self._shown = shown
        self._known: dict[Key, _Building] = {}
        #: For what is known: the thread that builds forgets what no run needs any more.
        self._guard = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="engine-environments")
        #: Called when one is ready, or cannot be.
        self.changed: Callable[[], None] = lambda: None

    def of(self, task: str, bundle: str) -> EngineEnvironment:
        """Where the FL server of a run of this app is to run.

        Raises:
            Invalid: the app's packages cannot be had on this machine. Who asks again has it tried again.
        """
        with self._db.read() as session:
            commit = commit_of_bundle(session, task, bundle)
        if commit is None:
            return EngineEnvironment()
        key = (task, commit)
        with self._guard:
            building = self._known.get(key)
            if building is None or (building.again_at or float("inf")) <= time.monotonic():
                building = self._known[key] = self._begin(key)
        return self._state_of(key, building)

    def _state_of(self, key: Key, building: _Building) -> EngineEnvironment:
        if not building.future.done():
            return EngineEnvironment(why=f"the environment of commit {key[1][:10]} is being built")
        error = building.future.exception()
        if error is None:
            return EngineEnvironment(building.future.result())
        said = (
            error.message if isinstance(error, FedOpsError) else f"{type(error).__name__}: {error}"
        )
        what = f"the environment of commit {key[1][:10]} cannot be built: {said}"
        if isinstance(error, Invalid):
            with self._guard:
                self._known.pop(key, None)
            raise Invalid(what)
        building.again_at = building.again_at or time.monotonic() + RETRY_SECONDS
        return EngineEnvironment(why=f"{what}; it is tried again")

    def _begin(self, key: Key) -> _Building:
        future = self._pool.submit(self._build, *key)
        future.add_done_callback(lambda _: self.changed())
        return _Building(future)

    def close(self) -> None:
        """No more are begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- the thread --------------------------------------------------------------------------------

    def _build(self, task: str, commit: str) -> Path:
        packages = self._packages.ensure(task, commit, platform_name())
        if packages.status == "refused":
            raise Invalid(packages.reason)
        target = self._folder / _digest(packages.wheels)
        wheels = WheelStore(self._folder / _WHEELS)
        files = [wheels.add(self._store.path(one.sha256), one) for one in packages.wheels]
        build_environment(
            target,
            files,
            python=Path(sys.executable),
            cache=self._folder / _CACHE,
            whose="the server",
        )
        if self._shown:
            self._folder.chmod(0o711)
            show_to_all(target)
        target.touch()
        self._clean(target, {one.sha256 for one in packages.wheels})
        logger.info("commit %s of task '%s' has its environment", commit[:10], task)
        return environment_python(target)

    def _clean(self, newest: Path, digests: set[str]) -> None:
        """Of those that no run needs any more, a few stay: the next commit may go back to one."""
        with self._guard:
            self._forget_unneeded()
            used = {self._result(one) for one in self._known.values()} | {newest}
        others = [p for p in self._folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
        idle = sorted((p for p in others if p not in used), key=lambda p: p.stat().st_mtime)
        unneeded = idle[:-KEPT]
        if unneeded:  # the cache would grow for ever; what is linked into environments stays there
            unneeded.append(self._folder / _CACHE)
        for old in unneeded:
            shutil.rmtree(old, ignore_errors=True)
        WheelStore(self._folder / _WHEELS).free(digests)  # an environment has links of its own

    def _forget_unneeded(self) -> None:
        """Whoever asks for one of them again has it built again, if it is not there any more."""
        with self._db.read() as session:
            needed = commits_in_use(session)
        for key, one in list(self._known.items()):
            if one.future.done() and key not in needed:
                del self._known[key]

    def _result(self, building: _Building) -> Path | None:
        future = building.future
        if not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result().parent.parent


def _digest(wheels: list[c.WheelRef]) -> str:
    return hashlib.sha256(",".join(sorted(one.sha256 for one in wheels)).encode()).hexdigest()[:32]
