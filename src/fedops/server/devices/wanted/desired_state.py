"""What the server wants of each device, in memory by revision; those who ask together are read together."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from fedops.core.contracts import DesiredDeployment, DesiredModel
from fedops.core.errors import NotFound
from fedops.core.states import RUN_TRAINING, Enrolment
from fedops.server.database.database import Database
from fedops.server.database.tables import DeviceRow, MembershipRow, RunRow
from fedops.server.devices.wanted.desired_deployments import read_deployments
from fedops.server.devices.wanted.serving import read_serving
from fedops.server.devices.wanted.upgrades import NO_RELEASE, WantedRelease, read_releases

T = TypeVar("T")
#: What a device in quarantine is told.
QUARANTINED = (
    "an operator has quarantined this device: it is asked for nothing until it is released"
)


@dataclass(frozen=True)
class Wanted:
    """What the server wants of a device, beside its work."""

    name: str
    enrolment: Enrolment
    tasks: list[str]
    #: The runs that go on in them.
    runs: list[int]
    problems: list[str]
    #: The code that it is to run, of the tasks whose code comes from the server.
    deployments: list[DesiredDeployment] = field(default_factory=list)
    #: The versions that it is to serve.
    serving: list[DesiredModel] = field(default_factory=list)
    #: The release of FedOps that it is to install.
    upgrade: WantedRelease = NO_RELEASE

    @cached_property
    def digest(self) -> int:
        """The same for the same wishes, in every process. 48 bits."""
        code = [one.model_dump(mode="json") for one in self.deployments]
        models = [model.model_dump() for model in self.serving]
        release = [self.upgrade.release, self.upgrade.attempt]
        own: list[object] = [self.name, self.enrolment.value, self.tasks, self.runs, self.problems]
        said = json.dumps([*own, code, models, release])
        return int.from_bytes(hashlib.sha256(said.encode()).digest()[:6])


def read_wanted(session: Session, device_ids: Iterable[str]) -> dict[str, Wanted]:
    """What the server wants of devices, by id."""
    ids = sorted(set(device_ids))
    query = select(DeviceRow.id, DeviceRow.name, DeviceRow.enrolment, DeviceRow.problems)
    rows = session.execute(query.where(DeviceRow.id.in_(ids))).all()
    tasks = _grouped(
        session,
        select(MembershipRow.device_id, MembershipRow.task)
        .where(MembershipRow.device_id.in_(ids))
        .order_by(MembershipRow.task),
    )
    runs = _grouped(
        session,
        select(MembershipRow.device_id, RunRow.id)
        .join(RunRow, RunRow.task == MembershipRow.task)
        .where(MembershipRow.device_id.in_(ids), RunRow.status.in_(RUN_TRAINING))
        .order_by(RunRow.id),
    )
    deployments = read_deployments(session, ids)
    serving = read_serving(session, ids)
    releases = read_releases(session, ids)
    approved = {row.id for row in rows if row.enrolment is Enrolment.APPROVED}
    return {
        row.id: Wanted(
            name=row.name,
            enrolment=_told(row.enrolment),
            tasks=tasks[row.id],
            runs=runs[row.id] if row.id in approved else [],
            problems=[*row.problems, *_standing(row.enrolment)],
            deployments=deployments.get(row.id, []),
            serving=serving[row.id],
            upgrade=releases.get(row.id, NO_RELEASE),
        )
        for row in rows
    }


def _told(enrolment: Enrolment) -> Enrolment:
    """A device need not know of quarantine: it has no work, and is told why in words."""
    return Enrolment.APPROVED if enrolment is Enrolment.QUARANTINED else enrolment


def _standing(enrolment: Enrolment) -> list[str]:
    return [QUARANTINED] if enrolment is Enrolment.QUARANTINED else []


def _grouped(session: Session, query: Select[str, T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for device_id, value in session.execute(query):
        found[device_id].append(value)
    return found


class WantedStates:
    """Used in one event loop."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[int, Wanted]] = {}
        self._asked: dict[str, asyncio.Future[Wanted]] = {}

    async def get(self, device_id: str, revision: int) -> Wanted:
        """What is wanted of a device, as new as ``revision`` at least."""
        found = self._known.get(device_id)
        if found is not None and found[0] >= revision:
            return found[1]
        waiting = self._asked.get(device_id)
        if waiting is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._begin)
            waiting = self._asked[device_id] = loop.create_future()
        wanted = await asyncio.shield(waiting)
        self._known[device_id] = (revision, wanted)
        return wanted

    def _begin(self) -> None:
        asked, self._asked = self._asked, {}
        task = asyncio.get_running_loop().run_in_executor(None, self._read, list(asked))
        task.add_done_callback(lambda done: _answer(asked, done))

    def _read(self, device_ids: list[str]) -> dict[str, Wanted]:
        with self._db.read() as session:
            return read_wanted(session, device_ids)


def _answer(
    asked: dict[str, asyncio.Future[Wanted]], done: asyncio.Future[dict[str, Wanted]]
) -> None:
    error = done.exception()
    for device_id, future in asked.items():
        if future.cancelled():
            continue
        if error is not None:
            future.set_exception(error)
        elif device_id in done.result():
            future.set_result(done.result()[device_id])
        else:
            future.set_exception(NotFound("this device is not known any more"))
