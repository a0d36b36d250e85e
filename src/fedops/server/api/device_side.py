"""What a Client Manager asks and reports, with the token of its device."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool

from fedops.core.contracts import (
    Desired,
    DeviceRead,
    Heartbeat,
    RecordBatch,
    RecordsAccepted,
    TaskRead,
)
from fedops.failpoints import reached
from fedops.server import devices, heartbeats, records, tasks
from fedops.server.api.access import ERRORS, After, DeviceId, Server, Wait
from fedops.server.api.routing import StrictRoute
from fedops.server.services import Services

router = APIRouter(prefix="/devices/me", tags=["device"], route_class=StrictRoute, responses=ERRORS)


def _desired(server: Services, device_id: str) -> Desired:
    # First the revision: a change that comes in between is then answered with the next call.
    revision = server.doorbell.revision(device_id)
    with server.db.read() as session:
        return devices.desired(session, device_id, server.settings, revision, server.clock())


@router.get("")
def me(device_id: DeviceId, server: Server) -> DeviceRead:
    """The device as the server sees it."""
    with server.db.read() as session:
        return devices.get(session, device_id, server.settings, server.clock())


@router.post("/heartbeat")
def heartbeat(body: Heartbeat, device_id: DeviceId, server: Server) -> Desired:
    """Still here. The answer is what the server wants."""
    now = server.clock()
    revision = server.doorbell.revision(device_id)  # before the transaction, as above
    twins = server.twins.heard(device_id, body.life)
    with server.db.write(durable=False) as session:
        heartbeats.beat(session, device_id, body, server.settings, now, twins=twins)
        wanted = devices.desired(session, device_id, server.settings, revision, now)
    # When this very heartbeat changed what is wanted, the revision has moved on with it.
    changed = server.doorbell.revision(device_id) != revision
    return _desired(server, device_id) if changed else wanted


@router.get("/desired")
async def desired(device_id: DeviceId, server: Server, after: After = 0, wait: Wait = 0) -> Desired:
    """What the server wants, as soon as it is newer than ``after`` or ``wait`` seconds passed."""
    await server.doorbell.wait_device(device_id, after, wait)
    return await run_in_threadpool(_desired, server, device_id)


@router.post("/records")
def deliver_records(body: RecordBatch, device_id: DeviceId, server: Server) -> RecordsAccepted:
    """Deliver what the spool holds. A record counts once, however often it is delivered."""
    with server.db.write() as session:
        limit = server.settings.log_bytes
        accepted = records.take_in(session, device_id, body, limit, server.clock())
        reached("server.records.inside")
    reached("server.records.kept")
    return accepted


@router.get("/tasks")
def ready_tasks(device_id: DeviceId, server: Server) -> list[TaskRead]:
    """The tasks there are to take part in. Of the devices that do, a device sees itself alone."""
    with server.db.read() as session:
        name = devices.get(session, device_id, server.settings, server.clock()).name
        found = tasks.listed(session, ready_only=True)
    return [
        task.model_copy(update={"devices": [d for d in task.devices if d == name]})
        for task in found
    ]
