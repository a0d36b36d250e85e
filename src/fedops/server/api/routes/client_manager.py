"""What a Client Manager asks and reports, with the token of its device."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.responses import FileResponse

from fedops.core.contracts import (
    CredentialReply,
    DeviceModelRead,
    DeviceRead,
    RecordBatch,
    RecordsAccepted,
    TaskConfig,
    TaskRead,
)
from fedops.failpoints import reached
from fedops.server.access import device_credentials
from fedops.server.api.http import file_transfer
from fedops.server.api.http.authentication import DeviceId, Named, Server, Who
from fedops.server.api.http.protocol_check import PROTOCOL_CHECKED
from fedops.server.api.http.routers import api_router
from fedops.server.devices import enrolment, registry
from fedops.server.tasks import device_models, tasks
from fedops.server.telemetry import device_records

router = api_router("device", PROTOCOL_CHECKED, prefix="/devices/me")
Version = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,63}$")]


@router.get("")
def me(device_id: DeviceId, server: Server) -> DeviceRead:
    """The device as the server sees it."""
    with server.db.read() as session:
        return registry.read_device(session, device_id, server.clock())


@router.post("/records")
def deliver_records(body: RecordBatch, device_id: DeviceId, server: Server) -> RecordsAccepted:
    """Deliver what the spool holds. A record counts once, however often it is delivered."""
    limit, now = server.settings.log_bytes, server.clock()

    # With what others write: a round's devices report at once.
    accepted = server.writer.call(
        lambda session: device_records.ingest_records(
            session, device_id, body, server.allowance, limit, now
        )
    )
    reached("server.records.kept")
    return accepted


@router.get("/tasks")
def ready_tasks(device_id: DeviceId, server: Server) -> list[TaskRead]:
    """The tasks there are to take part in. Of the devices that do, a device sees itself alone."""
    with server.db.read() as session:
        only = enrolment.require_approved(session, device_id)
        name = registry.read_device(session, device_id, server.clock()).name
        found = tasks.list_tasks(session, open_only=True)
    return [
        task.model_copy(update={"devices": [d for d in task.devices if d == name]})
        for task in found
        if only in (None, task.name)
    ]


@router.get("/configs")
def configs(device_id: DeviceId, server: Server) -> list[TaskConfig]:
    """What the device is to be ready for, of each task that it is in: the config of the next round."""
    with server.db.read() as session:
        enrolment.require_approved(session, device_id)
        return tasks.configs_of_device(session, device_id)


@router.get("/tasks/{task}/models/{version}")
def task_model(
    task: Named, version: Version, device_id: DeviceId, server: Server
) -> DeviceModelRead:
    """A model version of a task that the device takes part in, for it to evaluate on its own data."""
    with server.db.read() as session:
        return device_models.read_device_model(session, device_id, task, version)


@router.get("/tasks/{task}/models/{version}/file", response_class=FileResponse)
def task_model_file(
    task: Named, version: Version, device_id: DeviceId, server: Server
) -> FileResponse:
    """The model itself, as safetensors."""
    found = task_model(task, version, device_id, server)
    name = f"{task}-V{found.version}.safetensors"
    return file_transfer.send(server.artifacts, found.sha256, name)


@router.post("/credential", status_code=201)
def renew_credential(principal: Who, device_id: DeviceId, server: Server) -> CredentialReply:
    """A new credential. The one that this was asked with is good until the new one is confirmed."""
    with server.db.write() as session:
        made = device_credentials.renew_credential(session, principal, server.clock())
    reached("server.credential.made")
    return made


@router.post("/credential/confirm", status_code=204)
def confirm_credential(principal: Who, device_id: DeviceId, server: Server) -> None:
    """Say, with the new credential, that it was kept: the one before it ends in five minutes."""
    now = server.clock()
    with server.db.write() as session:
        if device_credentials.confirm_credential(session, principal, now):
            registry.note_new_credential(session, device_id, now)
    reached("server.credential.confirmed")
