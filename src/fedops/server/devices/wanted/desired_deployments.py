"""Which commit each device is to run for a task, and what it needs for that: read for many at once.

A device that runs what is wanted of it is told less: the model to try the code with, and what is different
from the commit before, are of use until then only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from fedops.core.contracts import BlobRef
from fedops.core.contracts.delivery import CommitChanges, DesiredDeployment, RolloutPolicy
from fedops.core.reasons.commits import short_commit
from fedops.core.states import DeploymentStatus, Enrolment
from fedops.server.database.tables import (
    AliasRow,
    ArtifactRow,
    CommitRow,
    DeploymentRow,
    DeviceRow,
    MembershipRow,
    ModelVersionRow,
    RolloutRow,
    RunRow,
)

#: What a device can do without once it runs the commit.
_NOT_NEEDED = {"model": None, "changes": CommitChanges(), "hold": ""}


@dataclass(frozen=True)
class _Going:
    """The run of a task that is not over."""

    run_id: int
    bundle: str
    #: None: its app came from no commit.
    commit: str | None

    def hold(self, bundle: str) -> str:
        if self.bundle == bundle:
            return ""
        with_ = f"commit {short_commit(self.commit)}" if self.commit else "the app it began with"
        return f"run {self.run_id} goes on with {with_}"


def read_deployments(
    session: Session, device_ids: Iterable[str]
) -> dict[str, list[DesiredDeployment]]:
    """What approved devices are to run, by id: one for each task that has a commit for them."""
    rows = _asked(session, sorted(set(device_ids)))
    if not rows:
        return {}
    kinds = _kinds(session, {(row.task, row.desired, row.rollout) for row in rows})
    found: dict[str, list[DesiredDeployment]] = defaultdict(list)
    for row in rows:
        kind = kinds.get((row.task, row.desired, row.rollout))
        if kind is None:
            continue
        own = {"attempt": row.attempt, "after_seconds": row.after_seconds}
        if row.actual == row.desired and row.status is DeploymentStatus.ACTIVE:
            own |= _NOT_NEEDED
        found[row.device_id].append(kind.model_copy(update=own))
    return found


_Asked = tuple[str, str, str, int, float, int | None, str | None, DeploymentStatus]


def _asked(session: Session, ids: Sequence[str]) -> Sequence[Row[_Asked]]:
    row = DeploymentRow
    query = (
        select(row.task, row.device_id, row.desired, row.attempt, row.after_seconds, row.rollout)
        .add_columns(row.actual, row.status)
        .join(
            MembershipRow,
            (MembershipRow.device_id == row.device_id) & (MembershipRow.task == row.task),
        )
        .join(DeviceRow, DeviceRow.id == row.device_id)
        .where(row.device_id.in_(ids), row.desired.is_not(None))
        .where(DeviceRow.enrolment == Enrolment.APPROVED)
        .order_by(row.device_id, row.task)
    )
    return session.execute(query).all()


_Kind = tuple[str, str, int | None]


def _kinds(session: Session, wanted: set[_Kind]) -> dict[_Kind, DesiredDeployment]:
    """What is the same for all devices that are asked for the same."""
    tasks = {task for task, _, _ in wanted}
    commits = _commits(session, tasks, {commit for _, commit, _ in wanted})
    sizes = _sizes(session, commits.values())
    models, going = _newest_models(session, tasks), _going(session, tasks)
    rollouts = _rollouts(session, {number for _, _, number in wanted if number is not None})
    found: dict[_Kind, DesiredDeployment] = {}
    for task, commit, number in wanted:
        row = commits.get((task, commit))
        if row is None or row.bundle not in sizes:
            continue
        policy, hold = rollouts.get(number, (RolloutPolicy(), ""))
        run = going.get(task)
        found[task, commit, number] = DesiredDeployment(
            task=task,
            commit=commit,
            bundle=sizes[row.bundle],
            pack=sizes.get(row.pack or ""),
            subfolder=row.subfolder,
            hold=hold or (run.hold(row.bundle) if run else ""),
            model=models.get(task),
            metric=policy.metric,
            may_lose=policy.may_lose,
            subject=row.subject,
            author=row.author,
            changes=CommitChanges.model_validate(row.changes),
        )
    return found


def _commits(
    session: Session, tasks: set[str], commits: set[str]
) -> dict[tuple[str, str], CommitRow]:
    query = select(CommitRow).where(CommitRow.task.in_(tasks), CommitRow.commit.in_(commits))
    return {(row.task, row.commit): row for row in session.scalars(query)}


def _sizes(session: Session, commits: Iterable[CommitRow]) -> dict[str, BlobRef]:
    wanted = {digest for row in commits for digest in (row.bundle, row.pack) if digest}
    query = select(ArtifactRow.sha256, ArtifactRow.size).where(ArtifactRow.sha256.in_(wanted))
    return {digest: BlobRef(sha256=digest, size=size) for digest, size in session.execute(query)}


def _newest_models(session: Session, tasks: set[str]) -> dict[str, BlobRef]:
    """Of each task the file of its newest version that is no quarantined one."""
    newest = (
        select(AliasRow.task, AliasRow.version).where(AliasRow.task.in_(tasks), _IS_LATEST)
    ).subquery()
    query = (
        select(ModelVersionRow.task, ArtifactRow.sha256, ArtifactRow.size)
        .join(
            newest,
            (newest.c.task == ModelVersionRow.task) & (newest.c.version == ModelVersionRow.version),
        )
        .join(ArtifactRow, ArtifactRow.sha256 == ModelVersionRow.sha256)
    )
    return {task: BlobRef(sha256=sha, size=size) for task, sha, size in session.execute(query)}


_IS_LATEST = AliasRow.name == "latest"


def _going(session: Session, tasks: set[str]) -> dict[str, _Going]:
    """The run of each task that is not over, with the commit that it goes on with."""
    commit = (
        select(func.max(CommitRow.commit))
        .where(CommitRow.task == RunRow.task, CommitRow.bundle == RunRow.bundle)
        .scalar_subquery()
    )
    query = select(RunRow.task, RunRow.id, RunRow.bundle, commit).where(
        RunRow.task.in_(tasks), RunRow.ended_at.is_(None)
    )
    return {task: _Going(*run) for task, *run in session.execute(query)}


def _rollouts(session: Session, numbers: set[int]) -> dict[int | None, tuple[RolloutPolicy, str]]:
    query = select(RolloutRow.id, RolloutRow.policy, RolloutRow.hold)
    rows = session.execute(query.where(RolloutRow.id.in_(numbers)))
    return {number: (RolloutPolicy.model_validate(policy), hold) for number, policy, hold in rows}
