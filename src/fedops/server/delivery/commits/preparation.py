"""Commits made ready to be deployed: checked out, packed, tried, stored, with no transaction open."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef, CommitChanges
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, NotFound
from fedops.core.reasons.durations import pluralised
from fedops.core.states import CommitStatus, TaskStatus
from fedops.failpoints import reached
from fedops.server.database import blob_rows
from fedops.server.database.tables import CommitRow, SourceRow, TaskRow
from fedops.server.delivery.commits import commit_states
from fedops.server.delivery.commits.checking import AppChecks, Checked
from fedops.server.delivery.commits.commit_changes import changes_between
from fedops.server.delivery.commits.commit_pack import (
    commits_in_use,
    give_up_old_packs,
    store_pack,
)
from fedops.server.delivery.commits.commit_states import CommitToCheck
from fedops.server.delivery.packages.commit_packages import forget_old
from fedops.server.delivery.repositories.app_layout import LaidOut, lay_out_commit, without_place
from fedops.server.delivery.repositories.folder_source import lay_out_folder
from fedops.server.delivery.repositories.mirrors import Mirrors
from fedops.server.delivery.repositories.source_url import parse_url
from fedops.server.delivery.transactions import Transactions
from fedops.server.tasks import app_bundles, draft_tasks, tasks
from fedops.server.tasks.app_bundles import Bundle
from fedops.storage.blobs import BlobStore
from fedops.storage.disk import disk_errors

logger = logging.getLogger("fedops.server.delivery")

#: From a commit that this machine could not check now to its next turn. Seconds.
PAUSE_SECONDS = 15.0
#: How many notes on a commit its reason holds.
_NOTED = 10


@dataclass(frozen=True)
class Limits:
    """What a commit may take. Bytes."""

    bundle: int
    pack: int


@dataclass(frozen=True)
class Prepared:
    """A commit that may be deployed."""

    config: dict[str, Any]
    bundle: Bundle
    bundle_blob: BlobRef
    pack: BlobRef | None
    requirements: list[str]
    checked: Checked
    changes: CommitChanges
    notes: list[str] = field(default_factory=list)


class CommitPreparation:
    """Takes the commits whose turn it is, the one that waits longest first."""

    def __init__(
        self,
        transactions: Transactions,
        mirrors: Mirrors,
        checks: AppChecks,
        store: BlobStore,
        private: Sequence[Path],
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``private``: folders that are no source."""
        self._transactions = transactions
        self._mirrors = mirrors
        self.checks = checks
        self._store = store
        self._private = private
        self._limits = limits
        self._clock = clock
        self._ending = False
        self._not_before = float("-inf")

    def step(self) -> None:
        """Check the commits that wait, until none does."""
        self._begin_anew()
        while not self._ending and (work := self._next()) is not None:
            self._check(work)

    def close(self) -> None:
        """The server ends, and with it the child that checks: what that says does not count any more."""
        self._ending = True

    def _begin_anew(self) -> None:
        """Nothing is checked between two steps: whoever was at it is gone, or could not say how it ended."""
        with self._transactions.read() as session:
            if not commit_states.is_any_checked(session):
                return
        with self._transactions.write() as session:
            commit_states.begin_anew(session, self._clock())

    def _next(self) -> CommitToCheck | None:
        now = self._clock()
        if now < self._not_before:
            return None
        with self._transactions.read() as session:
            if not commit_states.is_any_waiting(session):
                return None
        with self._transactions.write() as session:
            return commit_states.next_to_check(session, now)

    def _check(self, work: CommitToCheck) -> None:
        reached("server.commit.checking")
        try:
            with disk_errors(self._mirrors.access.home), self._place() as place:
                prepared = self._prepare(work, place)
            if self._ending:
                return  # the next life of the server begins it anew
            with self._transactions.write() as session:
                record_sound(session, work, prepared, self._clock())
        except (Invalid, NotFound, Forbidden) as error:
            self._end(work, CommitStatus.REFUSED, error.message)
        except Conflict:  # another Server Manager leads, and begins it anew
            raise
        except FedOpsError as error:
            self._later(work, error.message)
        except Exception:  # a mistake of ours with one commit must not cost the others their turn
            logger.exception("commit %s of task %s", work.commit, work.task)
            self._later(work, "the server could not check it; its log says why")

    def _later(self, work: CommitToCheck, why: str) -> None:
        """It is not the commit's fault: it gets some more turns."""
        self._not_before = self._clock() + PAUSE_SECONDS
        if work.checks < commit_states.MOST_CHECKS:
            self._end(work, CommitStatus.FOUND, why)
            return
        again = f"'fedops task commits {work.task} --check {work.commit[:12]}' has it tried again"
        self._end(work, CommitStatus.REFUSED, f"{why}; it was tried {work.checks} times; {again}")

    def _end(self, work: CommitToCheck, status: CommitStatus, why: str) -> None:
        if self._ending:
            return
        with self._transactions.write() as session:
            row = session.get_one(CommitRow, work.id)
            if row.status is CommitStatus.CHECKING:
                commit_states.move(session, row, status, why, self._clock())

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """A folder for one commit. What an earlier life left there is removed."""
        above = self._mirrors.access.home / "checkouts"
        above.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="commit-", dir=above) as place:
            yield Path(place)

    # --- steps ---------------------------------------------------------------------------------

    def _prepare(self, work: CommitToCheck, place: Path) -> Prepared:
        root, file = place / "files", place / "bundle.fab"
        root.mkdir()
        made = self._lay_out(work, root)
        try:
            required = self.checks.pack(made.app_dir, file)
        except Invalid as error:
            raise Invalid(without_place(error.message, root)) from None
        if file.stat().st_size > self._limits.bundle:
            raise Invalid(
                f"its bundle has {file.stat().st_size:,} bytes, more than the {self._limits.bundle:,} that "
                "this server takes (FEDOPS_SERVER_MAX_BUNDLE_BYTES)"
            )
        bundle = app_bundles.read_bundle(file, "the bundle of the commit")
        config = tasks.effective_config(bundle.config, work.overrides, work.task)
        checked = self.checks.check(file, config)
        if checked.problem:
            raise Invalid(checked.problem)
        before = self._bundle_before(work)
        changes = changes_between(work.before, before, file, work.requirements_before, required)
        notes = [*made.notes, *checked.notes]
        pack = self._pack(work, notes)
        blob = self._stored(file)
        return Prepared(config, bundle, blob, pack, required, checked, changes, notes)

    def _lay_out(self, work: CommitToCheck, root: Path) -> LaidOut:
        url = parse_url(work.url, self._private)
        if url.folder is not None:
            return lay_out_folder(url.folder, work.commit, work.subfolder, root)
        with self._mirrors.of_task(work.task) as mirror:
            mirror.fetch_commit(work.url, work.commit)
            return lay_out_commit(mirror, work.commit, work.subfolder, root)

    def _bundle_before(self, work: CommitToCheck) -> Path | None:
        if work.bundle_before is None:
            return None
        try:
            return self._store.path(work.bundle_before)
        except NotFound:
            return None

    def _pack(self, work: CommitToCheck, notes: list[str]) -> BlobRef | None:
        """None: of a folder, or too large."""
        if not parse_url(work.url, self._private).is_git:
            return None
        with self._mirrors.of_task(work.task) as mirror:
            pack = store_pack(mirror, work.commit, self._store, self._limits.pack)
        if pack is None:
            notes.append(
                f"its files take more than {self._limits.pack:,} bytes, so devices that demand a signature "
                "cannot check it (FEDOPS_SERVER_MAX_COMMIT_BYTES)"
            )
        return pack

    def _stored(self, file: Path) -> BlobRef:
        upload = self._store.begin()
        try:
            with file.open("rb") as opened:
                while block := opened.read(1 << 20):
                    upload.write(block)
            return upload.finish()
        finally:
            upload.abort()


def record_sound(session: Session, work: CommitToCheck, prepared: Prepared, now: float) -> None:
    """A commit was found sound. The first one makes a draft ready."""
    row = session.get_one(CommitRow, work.id)
    if row.status is not CommitStatus.CHECKING:
        return
    source = session.get(SourceRow, work.task)
    if source is None or source.url != work.url:
        why = "the task has another source now, or none"
        commit_states.move(session, row, CommitStatus.SKIPPED, why, now)
        return
    if row.subfolder != work.subfolder:
        why = "the app's folder was changed while it was checked"
        commit_states.move(session, row, CommitStatus.FOUND, why, now, checks=0)
        return
    app_bundles.register(session, prepared.bundle_blob, prepared.bundle, now, work.commit)
    if prepared.pack is not None:
        blob_rows.record_blob(session, prepared.pack, now)
    session.flush()
    commit_states.move(
        session,
        row,
        CommitStatus.SOUND,
        _noted(prepared.notes),
        now,
        bundle=prepared.bundle_blob.sha256,
        pack=prepared.pack.sha256 if prepared.pack else None,
        fingerprint=prepared.checked.fingerprint,
        requirements=prepared.requirements,
        changes=prepared.changes.model_dump(mode="json"),
    )
    used = commits_in_use(session, work.task)
    give_up_old_packs(session, work.task, used, now)
    forget_old(session, work.task, used)
    task = session.get_one(TaskRow, work.task)
    if task.bundle is None:
        assert task.status is not TaskStatus.READY
        text = f"commit {work.commit[:12]} was found sound"
        sha256 = prepared.bundle_blob.sha256
        draft_tasks.make_ready(session, task, sha256, prepared.config, text, now)


def _noted(notes: Sequence[str]) -> str:
    more = len(notes) - _NOTED
    told = [*notes[:_NOTED], *([f"and {pluralised(more, 'more note')}"] if more > 0 else [])]
    return "; ".join(told)
