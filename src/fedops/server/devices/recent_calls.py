"""Which devices are there and what they do: heard in memory with each call, written together now and then.

What others read is ``devices.present_until``. Each device is told how often to call, so that the server hears
about as many calls a second whatever their number; it counts as gone after missing two.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Table, Update, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from fedops.core.contracts import DeploymentReport, ProcessReport, ServingReport, WorkPoll
from fedops.core.presence import call_interval, present_until
from fedops.core.states import PROCESS_READY, DeploymentStatus, ProcessStatus
from fedops.server.database.tables import DeviceRow

#: How old what is written may be. Seconds.
FLUSH_SECONDS = 1.0
#: After so long without a step of ours it was we who did not listen. Seconds.
ABSENCE_SECONDS = 3.0


@dataclass
class _Device:
    at: float
    until: float
    said: tuple[object, ...] = ()
    spool: tuple[int, int] = (0, 0)
    process: ProcessReport | None = None
    heard_of_process: float = 0.0


_Row = dict[str, object]


@dataclass(frozen=True)
class Unwritten:
    """What the database does not know yet, as parameters of its updates."""

    calls: list[_Row]
    processes: list[_Row]


@dataclass
class _Memory:
    devices: dict[str, _Device] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    #: Whose training client does something else than what is written.
    changed: set[str] = field(default_factory=set)
    flushed_at: float = float("-inf")


class RecentCalls:
    """Thread-safe. ``at`` and ``now`` are POSIX seconds on the server's clock.

    ``shared``: devices may call other Server Managers, too. Then what is written never takes back what one of
    those wrote, and only the database knows who is away.
    """

    def __init__(self, least_interval: float, *, shared: bool = False) -> None:
        self._least = least_interval
        self._shared = shared
        self._memory = _Memory()
        self._lock = threading.Lock()

    @property
    def interval(self) -> float:
        """How often each device is to call now, in seconds."""
        return call_interval(len(self._memory.devices), self._least)

    def load(self, session: Session, now: float) -> None:
        """At the start: who was online has an interval's grace to call again."""
        query = select(DeviceRow.id, DeviceRow.last_heartbeat_at).where(DeviceRow.noted_online)
        with self._lock:
            for device_id, at in session.execute(query):
                self._memory.devices[device_id] = _Device(at or now, now)
        self.forgive(now)

    def heard(self, device_id: str, now: float) -> None:
        """The device called for whatever reason. One that is away comes back by its poll only."""
        with self._lock:
            device = self._memory.devices.get(device_id)
            if device is not None:
                self._keep(device_id, device, now)

    def polled(self, device_id: str, body: WorkPoll, twins: bool, now: float) -> bool:
        """The device polled; whether it said anything that the database must hear now."""
        said = _said(body, twins)
        with self._lock:
            device = self._memory.devices.get(device_id)
            if device is None:
                return True
            device.spool = (body.spool_records, body.spool_dropped)
            if device.process is None or _activity(device.process) != _activity(body.process):
                device.process, device.heard_of_process = body.process, now
                self._memory.changed.add(device_id)
            self._keep(device_id, device, now)
            return device.said != said

    def wrote(
        self, device_id: str, body: WorkPoll, twins: bool, now: float, *, settled: bool = True
    ) -> None:
        """The database has heard what the device said. Not ``settled``: it must hear it again."""
        with self._lock:
            until = present_until(now, self.interval)
            spool = (body.spool_records, body.spool_dropped)
            said = _said(body, twins) if settled else ()
            self._memory.devices[device_id] = _Device(now, until, said, spool, body.process, now)
            self._memory.changed.discard(device_id)

    def _keep(self, device_id: str, device: _Device, now: float) -> None:
        device.at, device.until = now, present_until(now, self.interval)
        self._memory.dirty.add(device_id)

    def gone(self, device_id: str) -> None:
        """It counts as away: what it says next is news."""
        with self._lock:
            self._memory.devices.pop(device_id, None)
            self._memory.dirty.discard(device_id)

    def forgive(self, now: float) -> None:
        """It was us who did not listen: everybody has an interval to call."""
        with self._lock:
            until = present_until(now, self.interval)
            for device_id, device in self._memory.devices.items():
                device.until = max(device.until, until)
                self._memory.dirty.add(device_id)
            self._memory.flushed_at = float("-inf")

    def prune(self, now: float) -> None:
        """Forget who has not called here for too long: it is away, or calls another Server Manager."""
        with self._lock:
            devices = self._memory.devices
            for device_id in [d for d, device in devices.items() if device.until <= now]:
                del devices[device_id]

    def overdue(self, now: float) -> bool:
        """Whether a device that was there has not called for too long."""
        with self._lock:
            return any(device.until <= now for device in self._memory.devices.values())

    def due(self, now: float) -> bool:
        """Whether there is anything to write, and it is time."""
        memory = self._memory
        late = not 0 <= now - memory.flushed_at < min(FLUSH_SECONDS, self._least / 4)
        return late and bool(memory.dirty)

    def flush(self, session: Session, news: Unwritten, now: float) -> None:
        """Write what was taken: who called, and what their training clients do now.

        ``now``: the time within the transaction.
        """
        connection = session.connection()
        if news.calls:
            times = {"last_heartbeat_at": "at", "present_until": "until"}
            numbers = {"spool_records": "waiting", "spool_dropped": "dropped"}
            said = _update_later(times, numbers) if self._shared else _update(times | numbers)
            connection.execute(said, news.calls)
        if news.processes:
            connection.execute(_update_process(now), news.processes)

    def take(self, now: float) -> Unwritten:
        """Who called since the last time, to be written. ``give_back`` when that is not committed."""
        with self._lock:
            memory = self._memory
            dirty, changed = memory.dirty, memory.changed
            memory.dirty, memory.changed, memory.flushed_at = set(), set(), now
            devices = {d: memory.devices[d] for d in sorted(dirty) if d in memory.devices}
        calls = [_call(device_id, device) for device_id, device in devices.items()]
        return Unwritten(calls, [_process(d, devices[d]) for d in sorted(changed) if d in devices])

    def give_back(self, news: Unwritten) -> None:
        """It could not be written: it is news still, as it is by then."""
        with self._lock:
            memory = self._memory
            memory.dirty |= {d for d in map(_key, news.calls) if d in memory.devices}
            memory.changed |= {d for d in map(_key, news.processes) if d in memory.devices}


def _key(row: _Row) -> str:
    return str(row["key"])


def _call(device_id: str, device: _Device) -> _Row:
    waiting, dropped = device.spool
    return {
        "key": device_id,
        "at": device.at,
        "until": device.until,
        "waiting": waiting,
        "dropped": dropped,
    }


def _process(device_id: str, device: _Device) -> _Row:
    report = (device.process or ProcessReport()).model_dump(mode="json")
    return {"key": device_id, "report": report, "at": device.heard_of_process}


def _update(values: dict[str, str]) -> Update:
    """Writes each column from the parameter of that name."""
    table = _table()
    return update(table).where(table.c.id == bindparam("key")).values(**_given(values))


def _update_process(now: float) -> Update:
    """Nothing that was written since it was taken is taken back, unless a wrong clock wrote it."""
    table = _table()
    values = _given({"process": "report", "process_at": "at"})
    written, taken = table.c.process_at, values["process_at"]
    ours = or_(written.is_(None), written <= taken, written > now)
    return update(table).where(table.c.id == bindparam("key"), ours).values(**values)


def _update_later(times: dict[str, str], values: dict[str, str]) -> Update:
    """The same, but no time goes back, and who was declared away stays so until it polls."""
    table = _table()
    later = {
        column: func.greatest(table.c[column], given) for column, given in _given(times).items()
    }
    where = (table.c.id == bindparam("key"), table.c.noted_online)
    return update(table).where(*where).values(**later, **_given(values))


def _given(values: dict[str, str]) -> dict[str, ColumnElement[object]]:
    columns = _table().c
    return {column: bindparam(name, type_=columns[column].type) for column, name in values.items()}


def _table() -> Table:
    table = DeviceRow.__table__
    assert isinstance(table, Table)
    return table


def _said(body: WorkPoll, twins: bool) -> tuple[object, ...]:
    """What of a poll is worth a transaction of its own when it changes: not that a round goes on."""
    process = body.process
    status = ProcessStatus.IDLE if process.status in PROCESS_READY else process.status
    ready = tuple((one.task, one.status, one.reason) for one in process.readiness)
    refusal = process.refusal and (process.refusal.run_id, process.refusal.reason)
    tried = (ready, refusal, process.training_examples != 0, process.unmet_conditions)
    code = tuple(map(_deployed, body.deployments))
    models = tuple(map(_without_age, body.serving))
    worked = (status, process.restarts, process.reason, tried)
    release = (body.upgrade_attempt, body.upgrade_stalled, body.upgrade_problem)
    return (body.life, tuple(body.tasks), twins, *worked, code, models, release)


def _deployed(report: DeploymentReport) -> DeploymentReport:
    """What is news of it: not for how long it has been so, nor how far a fetch or a build is."""
    untold: dict[str, object] = {"seconds": 0.0}
    if report.status in _UNDER_WAY and not report.stalled:
        untold["reason"] = ""
    return report.model_copy(update=untold)


_UNDER_WAY = (DeploymentStatus.FETCHING, DeploymentStatus.PREPARING)


def _without_age(report: ServingReport) -> ServingReport:
    return report.model_copy(update={"seconds": 0.0})


def _activity(process: ProcessReport) -> tuple[object, ...]:
    facts = (process.accelerator_problem, process.accelerator)
    examples = (process.training_examples, process.validation_examples)
    now = (process.status, process.pid, process.task, process.run_id, process.round)
    return (*now, *facts, *examples)
