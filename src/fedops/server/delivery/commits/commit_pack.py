"""A commit with its files and nothing of its history, as a Git pack: what its signature is checked with."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef
from fedops.core.errors import Unavailable
from fedops.server.database import blob_rows
from fedops.server.database.tables import CommitRow, DeploymentRow, RolloutRow, RunRow, TaskRow
from fedops.server.delivery.repositories.git_command import GitFailed, ask_mirror, running
from fedops.server.delivery.repositories.git_mirror import GitMirror
from fedops.storage.blobs import BlobStore

_BLOCK = 1 << 20
#: How many of the newest packs of a task are kept, beside those of commits that devices run or are to run.
KEPT = 3


def store_pack(mirror: GitMirror, commit: str, store: BlobStore, most: int) -> BlobRef | None:
    """Pack a commit into the store. None: its pack has more than ``most`` bytes.

    Raises:
        Unavailable: the server's copy of the repository cannot be read, or the disk is full.
    """
    upload = store.begin()
    try:
        for block in _packed(mirror, commit):
            if upload.size + len(block) > most:
                return None
            upload.write(block)
        return upload.finish()
    except GitFailed as failed:
        text = f"commit {commit[:12]} cannot be packed: {failed.said.strip()[:300]}"
        raise Unavailable(text) from None
    finally:
        upload.abort()


def _packed(mirror: GitMirror, commit: str) -> Iterator[bytes]:
    words = ("rev-list", "--objects", "--no-walk", commit)
    objects = ask_mirror(mirror.access, mirror.folder, *words)
    pack = ["pack-objects", "--stdout", "--quiet", "--threads=1"]
    with running(mirror.access, mirror.folder, pack) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(objects)
        child.stdin.close()
        while block := child.stdout.read(_BLOCK):
            yield block


def commits_in_use(session: Session, task: str) -> set[str]:
    """Of a task: what devices run or are to run, may go back to, and what its runs use, now and next."""
    one, going = RolloutRow, RolloutRow.ended_at.is_(None)
    on_devices = [
        *(select(column).where(one.task == task, going) for column in (one.commit, one.previous)),
        *(
            select(column).where(DeploymentRow.task == task)
            for column in (DeploymentRow.desired, DeploymentRow.actual)
        ),
    ]
    apps = select(RunRow.bundle).where(RunRow.task == task, RunRow.ended_at.is_(None))
    apps_of_runs = apps.union(select(TaskRow.bundle).where(TaskRow.name == task))
    of_runs = select(CommitRow.commit).where(
        CommitRow.task == task, CommitRow.bundle.in_(apps_of_runs)
    )
    return {commit for commit in session.scalars(union(of_runs, *on_devices)) if commit}


def give_up_old_packs(session: Session, task: str, used: set[str], now: float) -> None:
    """Packs that no device needs any more are not kept: each may be as large as the repository."""
    query = (
        select(CommitRow)
        .where(CommitRow.task == task, CommitRow.pack.is_not(None))
        .order_by(CommitRow.id.desc())
        .offset(KEPT)
    )
    old = [row for row in session.scalars(query) if row.commit not in used]
    packs = {row.pack for row in old if row.pack is not None}
    for row in old:
        row.pack = None
    session.flush()
    blob_rows.give_up_blobs(session, packs, now)
