"""Which devices of a task run other code than a run of it uses, and why they are not invited to it.

A device that was given its folder says nothing of commits, and is invited as it is.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.contracts import ParameterContract
from fedops.core.reasons.commits import other_folder, runs_other_commit
from fedops.server.database.tables import CommitRow, DeploymentRow, DeviceRow, RunRow


def running_other_code(session: Session, run: RunRow) -> dict[str, str]:
    """By device name, why its code does not fit the run."""
    row = DeploymentRow
    query = (
        select(DeviceRow.name, row.actual, row.desired, row.report, CommitRow.bundle)
        .join(DeviceRow, DeviceRow.id == row.device_id)
        .outerjoin(CommitRow, (CommitRow.task == row.task) & (CommitRow.commit == row.actual))
        .where(row.task == run.task)
    )
    rows = session.execute(query).all()
    if not rows:
        return {}
    ours = _commits(session, run)
    used, contract = next(iter(ours), None), _contract(run) or next(iter(ours.values()), "")
    found = {}
    for name, actual, desired, report, bundle in rows:
        if report.get("local"):
            if why := _of_folder(report, ours, contract):
                found[name] = why
        elif actual is None or bundle != run.bundle:
            wanted = used if desired in ours else desired
            found[name] = runs_other_commit(actual, used, wanted)
    return found


def _commits(session: Session, run: RunRow) -> dict[str, str]:
    """The commits that have the run's app, the newest first, with their parameter contracts."""
    query = select(CommitRow.commit, CommitRow.fingerprint).where(
        CommitRow.task == run.task, CommitRow.bundle == run.bundle
    )
    return {
        commit: fingerprint
        for commit, fingerprint in session.execute(query.order_by(CommitRow.id.desc()))
    }


def _contract(run: RunRow) -> str:
    return ParameterContract.model_validate(run.contract).fingerprint if run.contract else ""


def _of_folder(report: dict[str, Any], ours: dict[str, str], contract: str) -> str:
    """A folder fits by its parameter contract; where that is not known, by its commit without changes."""
    said, commit, dirty = report["fingerprint"], report["active"], report["dirty"]
    if said and contract:
        if said == contract:
            return ""
    elif commit in ours and not dirty:
        return ""
    used = next(iter(ours), None)
    return other_folder(commit, used, dirty=dirty, contract=bool(said and contract))
