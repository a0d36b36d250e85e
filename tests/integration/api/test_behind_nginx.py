"""Devices reach the server through nginx as ``deploy/nginx.conf`` sets it up: TLS, files sent by nginx."""

from __future__ import annotations

import base64
import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from managing import Device, World, idle, managing
from nginx import ACCEL_PREFIX, MISSING, PROGRAM, Nginx, nginx

from fedops.api_client import trust
from fedops.api_client.blobs import BlobClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, NotFound
from fedops.storage import tensors

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
PIECE = 256 * 1024


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path, accel_prefix=ACCEL_PREFIX) as made:
        yield made


@pytest.fixture
def proxy(world: World, tmp_path: Path) -> Iterator[Nginx]:
    port = urlsplit(world.url).port
    assert port
    home = world.manager.services.settings.home
    with nginx(tmp_path / "nginx", port, home / "artifacts") as made:
        yield made


@pytest.fixture
def work(world: World) -> tuple[Device, c.Instruction, str]:
    """A device, its work, and the model it begins from: 4 MB."""
    world.task()
    device = world.ready_devices("a")["a"]
    _, engine = world.running()
    model = engine.upload(world.file(big(1.0)))
    world.begin(engine, 1, "a", model=model.sha256, instructions=[document(model)])
    return device, device.take(), model.sha256


def document(model: c.BlobRef) -> dict[str, object]:
    blob = {"sha256": model.sha256, "size": model.size}
    return {
        "version": 1,
        "records": {"arrays": {"type": "array", "tensors": [["w", "w"]], "blob": blob}},
    }


def big(value: float) -> bytes:
    return tensors.pack({"w": np.arange(1_000_000, dtype=np.float32) + value})


def files(proxy: Nginx, device: Device) -> BlobClient:
    return BlobClient(proxy.url, token=device.token, verify=trust(proxy.ca_file))


def raw(proxy: Nginx, device: Device) -> httpx.Client:
    verify = ssl.create_default_context(cafile=str(proxy.ca_file))
    headers = {"authorization": f"Bearer {device.token}", "fedops-protocol": "1"}
    return httpx.Client(base_url=proxy.url, headers=headers, verify=verify, trust_env=False)


def test_a_model_comes_from_nginx_whole_and_in_parts(
    world: World, proxy: Nginx, work: tuple[Device, c.Instruction, str]
) -> None:
    device, _, sha256 = work
    with files(proxy, device) as blobs:
        with blobs.download(sha256) as part:
            found = b"".join(part.blocks())
        assert hashlib.sha256(found).hexdigest() == sha256
        with blobs.download(sha256, start=1_000_001) as part:
            assert (part.start, b"".join(part.blocks())) == (1_000_001, found[1_000_001:])
        with pytest.raises(Conflict), blobs.download(sha256, start=len(found)):
            pass
    path = f"/api/v1/blobs/{sha256}"
    with raw(proxy, device) as client:
        head = client.head(path)
        assert head.headers["etag"] == f'"{sha256}"'
        assert int(head.headers["content-length"]) == len(found)
        assert "x-accel-redirect" not in head.headers
        again = client.get(path, headers={"if-none-match": f'"{sha256}"'})
        assert (again.status_code, again.content) == (304, b"")
        other = client.get(path, headers={"range": "bytes=5-9", "if-range": '"another"'})
        assert (other.status_code, len(other.content)) == (200, len(found))
    straight = httpx.get(world.url + path, headers=dict(device._http.headers), timeout=10)
    assert straight.headers["x-accel-redirect"] == f"{ACCEL_PREFIX}/{sha256[:2]}/{sha256[2:]}"
    assert straight.content == b""


def test_nobody_gets_past_the_server(
    world: World, proxy: Nginx, work: tuple[Device, c.Instruction, str]
) -> None:
    _, _, sha256 = work
    _, stranger = world.join("stranger")
    place = f"{ACCEL_PREFIX}/{sha256[:2]}/{sha256[2:]}"
    with raw(proxy, stranger) as client:
        assert client.get(place).status_code == 404
        assert client.get(place, headers={"x-accel-redirect": place}).status_code == 404
        assert client.get(f"/api/v1/blobs/{sha256}").status_code == 404
        assert client.get(f"/api/v1/blobs/../../{place[1:]}").status_code == 404
    with files(proxy, stranger) as blobs, pytest.raises(NotFound), blobs.download(sha256):
        pass


def test_an_upload_goes_through_as_it_comes_and_continues_after_a_cut(
    world: World, proxy: Nginx, work: tuple[Device, c.Instruction, str]
) -> None:
    device, instruction, _ = work
    update = big(2.0)
    head = c.UploadHead(assignment=instruction.id, sha256=hashlib.sha256(update).hexdigest())
    sent, go_on = threading.Event(), threading.Event()

    def cut() -> Iterator[bytes]:
        for start in range(0, 4 * PIECE, PIECE):
            yield update[start : start + PIECE]
        sent.set()
        assert go_on.wait(10)
        raise ConnectionError("the link broke")

    def send() -> None:
        with files(proxy, device) as blobs, pytest.raises(ConnectionError):
            blobs.create_upload(head, len(update), cut())

    sender = threading.Thread(target=send)
    sender.start()
    assert sent.wait(10)
    incoming = world.manager.services.settings.home / "artifacts" / "incoming"
    _eventually(lambda: _size(incoming) >= 3 * PIECE)  # nothing waits in nginx for the rest
    go_on.set()
    sender.join()
    with files(proxy, device) as blobs:
        upload = blobs.create_upload(head, len(update), None)
        assert 3 * PIECE <= upload.offset <= 4 * PIECE
        rest = update[upload.offset :]
        assert blobs.append(upload.id, upload.offset, iter([rest]), len(rest)) == len(update)
    assert world.manager.services.artifacts.size(head.sha256) == len(update)
    device.held.append(instruction.id)
    assert device.poll().forget == [instruction.id]


def test_polls_wait_and_bad_calls_are_answered_through_nginx(
    world: World, proxy: Nginx, work: tuple[Device, c.Instruction, str]
) -> None:
    device, instruction, _ = work
    with raw(proxy, device) as client:
        body = idle().model_copy(update={"after": device.last.revision, "wait": 1.0}).model_dump()
        body["held"] = [{"id": instruction.id}]
        began = time.monotonic()
        answer = client.post("/api/v1/work", json=body, timeout=10)
        assert answer.status_code == 200
        assert 0.8 < time.monotonic() - began < 5.0
        assert client.get("/health").json() == {"status": "ok"}
        too_long = {
            "tus-resumable": "1.0.0",
            "content-type": "application/offset+octet-stream",
            "upload-length": str(1 << 40),
            "upload-metadata": _metadata(instruction.id),
        }
        assert client.post("/api/v1/blobs", headers=too_long).status_code == 413


def _metadata(assignment: str) -> str:
    values = {"assignment": assignment, "sha256": "a" * 64}
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in values.items())


def _size(folder: Path) -> int:
    return max((f.stat().st_size for f in folder.glob("*") if f.suffix != ".note"), default=0)


def _eventually(true: object, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
