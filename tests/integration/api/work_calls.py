"""What the tests of work ask of a server, as its devices and its engine do."""

from __future__ import annotations

import base64
import hashlib

import httpx
from managing import Device, Engine, World

from fedops.core import contracts as c
from fedops.core.states import AssignmentStatus as A
from fedops.server.database import lookup
from fedops.server.database.tables import AssignmentRow

RESULT = b"a small payload file"


def status_of(world: World, id_: str) -> A:
    with world.manager.services.db.read() as session:
        return session.get_one(AssignmentRow, id_).status


def collect(engine: Engine, after: int = 0, wait: float = 5.0, **verdicts: object) -> c.Collected:
    body = {"after": after, "wait": wait, **verdicts}
    return engine.collect(c.CollectRequest.model_validate(body))


def row_of(world: World, id_: str) -> AssignmentRow:
    with world.manager.services.db.read() as session:
        row = session.get_one(AssignmentRow, id_)
        session.expunge(row)
        return row


def lose_attempt(world: World, run_id: int) -> None:
    from fedops.server.runs import attempts, transitions

    with world.manager.services.db.write() as session:
        attempt = transitions.attempt_of(session, lookup.require_run(session, run_id))
        assert attempt is not None
        attempts.mark_lost(session, attempt.id, "killed", world.clock())


def model_of(world: World, engine: Engine) -> str:
    """The model that the run begins from."""
    return engine.upload(world.model(0.0)).sha256


def upload_result(
    world: World, device: Device, id_: str, data: bytes, cut: int | None = None
) -> httpx.Response:
    """Upload a result in one call; ``cut``: only so much of it."""
    fields = {"assignment": id_, "sha256": hashlib.sha256(data).hexdigest()}
    coded = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())
    headers = {
        "authorization": f"Bearer {device.token}",
        "fedops-protocol": "1",
        "tus-resumable": "1.0.0",
        "content-type": "application/offset+octet-stream",
        "upload-length": str(len(data)),
        "upload-metadata": ",".join(coded),
    }
    url = f"{world.url}/api/v1/blobs"
    return httpx.post(url, headers=headers, content=data[:cut], timeout=60)
