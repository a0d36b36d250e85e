"""Group commit: what many callers want written goes to the disk in one transaction, with the files it names.

A caller is answered once its change and its files are durable. When one of a group fails, the group is undone
and each runs by itself, so that a mistake is only the one's who made it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from fedops.core.errors import Unavailable
from fedops.server.database.database import Database
from fedops.storage.blobs import Staged
from fedops.storage.disk import disk_errors, sync_folders

logger = logging.getLogger("fedops.server")
T = TypeVar("T")
#: At most so many changes share a transaction.
GROUP = 256


class Writer:
    """One thread that writes for all. A change that waits is written with all others that wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._jobs: deque[_Job] = deque()
        self._news = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what was handed in, and end."""
        with self._news:
            self._ending = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join()

    async def submit(self, work: Callable[[Session], T], files: Sequence[Staged] = ()) -> T:
        """What ``work`` returns, once it is committed and ``files`` are durable.

        ``work`` runs in another thread, perhaps twice, in a transaction that it shares: it never commits and
        returns no rows. What it raises comes back. ``Unavailable`` when the database or the disk is.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(_Job(work, files, _InLoop(loop, future)))
        return await future

    def call(self, work: Callable[[Session], T], files: Sequence[Staged] = ()) -> T:
        """The same for a thread that may wait."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._put(_Job(work, files, _InThread(future)))
        return future.result()

    def _put(self, job: _Job) -> None:
        with self._news:
            if self._ending:
                raise Unavailable("the server is ending: nothing was changed; repeat in a moment")
            self._jobs.append(job)
            self._news.notify()

    def _loop(self) -> None:
        while group := self._next_group():
            self._write(group)

    def _next_group(self) -> list[_Job]:
        with self._news:
            while not self._jobs and not self._ending:
                self._news.wait()
            return [self._jobs.popleft() for _ in range(min(GROUP, len(self._jobs)))]

    def _write(self, group: list[_Job]) -> None:
        try:
            results = self._commit(group)
        except _OneFailed:
            for job in group:
                self._write([job])
        except BaseException as error:
            _answer([(job, None, error) for job in group])
        else:
            _answer([(job, result, None) for job, result in zip(group, results, strict=True)])

    def _commit(self, group: list[_Job]) -> list[Any]:
        alone = len(group) == 1
        for job in group:
            _attempt(job.sync, alone)
        with self._db.write() as session:
            results = [_attempt(partial(job.run, session), alone) for job in group]
            _sync(folder for job in group for folder in _attempt(job.place, alone))
        for job in group:
            _tidy(job.files)
        return results


@dataclass(frozen=True, eq=False)
class _Job:
    work: Callable[[Session], Any]
    files: Sequence[Staged]
    answer: _InLoop | _InThread

    def sync(self) -> None:
        for file in self.files:
            file.sync()

    def place(self) -> list[Path]:
        """Give its files their names. The folders that must be synced."""
        return [folder for file in self.files if (folder := file.place())]

    def run(self, session: Session) -> Any:
        result = self.work(session)
        session.flush()
        return result


@dataclass(frozen=True, eq=False)
class _InLoop:
    """Somebody waits in an event loop."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(frozen=True, eq=False)
class _InThread:
    """Somebody waits in a thread."""

    future: concurrent.futures.Future[Any]


class _OneFailed(Exception):
    """One of several raised."""


_Answer = tuple[_Job, Any, BaseException | None]


def _attempt(step: Callable[[], T], alone: bool) -> T:
    try:
        return step()
    except Exception as error:
        if alone:
            raise
        raise _OneFailed from error


def _sync(folders: Iterable[Path]) -> None:
    """Make the names of files durable: a folder once, and only when all have their names."""
    for folder in set(folders):
        with disk_errors(folder):
            sync_folders([folder])


def _tidy(files: Sequence[Staged]) -> None:
    for file in files:
        try:
            file.done()
        except OSError:
            logger.warning("an upload that is stored could not be tidied up", exc_info=True)


def _answer(answers: list[_Answer]) -> None:
    """Tell everybody: each event loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for answer in answers:
        whom = answer[0].answer
        if isinstance(whom, _InLoop):
            by_loop.setdefault(whom.loop, []).append(answer)
        else:
            _settle([answer])
    for loop, some in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, some)
        except RuntimeError:  # the loop has ended, and nobody waits in it
            logger.debug("the event loop of %d callers has ended", len(some))


def _settle(answers: list[_Answer]) -> None:
    for job, result, error in answers:
        future = job.answer.future
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
