"""Who has no credential, or too much time, or too much to say, is turned away before it costs anything."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from attacks import FROM, crowd, head, heard, line_to, pour, pour_chunks, status_of, trickle
from managing import World, idle, managing

from fedops.api_client import LONG_POLL_SECONDS, TryLater
from fedops.core.errors import Unavailable
from fedops.storage import tensors

API = "/api/v1"
HUGE = 100 << 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        yield made


def port_of(world: World) -> int:
    return httpx.URL(world.url).port or 0


def limit(world: World, **limits: float) -> None:
    world.gate.book.limits = replace(world.gate.book.limits, **limits)  # type: ignore[arg-type]


def others_are_answered(world: World) -> None:
    with httpx.Client(base_url=world.url, trust_env=False, timeout=2.0) as http:
        assert http.get("/health").status_code == 200


# --- before a body is read ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/tasks", "/runs/1/stop", "/devices/me/records", "/tokens"])
@pytest.mark.parametrize("token", [None, "fo_admin_wrong"])
def test_a_body_waits_for_the_credential(world: World, path: str, token: str | None) -> None:
    credential = {"authorization": f"Bearer {token}"} if token else {}
    with line_to(port_of(world)) as line:
        line.sendall(head("POST", API + path, content_length=HUGE, **credential))
        answer = heard(line)  # nothing of the body was sent
    assert status_of(answer) == 401
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["kind"] == "forbidden"


def test_a_token_that_is_refused_with_a_body_is_on_record(world: World) -> None:
    with line_to(port_of(world)) as line:
        credential = {"authorization": "Bearer fo_admin_wrong"}
        line.sendall(head("POST", API + "/tokens", content_length=HUGE, **credential))
        assert status_of(heard(line)) == 401
    (event,) = [one for one in world.operator.events() if one.name == "user.token_refused"]
    assert event.by_address == FROM


def test_a_body_in_chunks_waits_too(world: World) -> None:
    with line_to(port_of(world)) as line:
        line.sendall(head("POST", API + "/tasks", transfer_encoding="chunked"))
        assert status_of(heard(line)) == 401
        assert pour_chunks(line, HUGE) < HUGE


def test_a_join_has_a_few_kilobytes(world: World) -> None:
    with line_to(port_of(world)) as line:
        line.sendall(head("POST", API + "/join", content_length=HUGE, fedops_protocol="1"))
        assert status_of(heard(line)) == 413
        assert pour(line, HUGE) < HUGE
    with line_to(port_of(world)) as line:
        line.sendall(head("POST", API + "/join", transfer_encoding="chunked", fedops_protocol="1"))
        assert pour_chunks(line, HUGE) < HUGE
    world.join("a")
    others_are_answered(world)


def test_a_page_takes_no_large_body_of_a_stranger(world: World) -> None:
    with line_to(port_of(world)) as line:
        line.sendall(head("POST", "/anything", content_length=HUGE))
        assert status_of(heard(line)) == 413


# --- how long ----------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n"])
def test_headers_that_never_end_are_cut_off(world: World, begin: bytes) -> None:
    limit(world, head_seconds=0.4)
    with line_to(port_of(world)) as line:
        line.sendall(begin)
        assert trickle(line, b"a: b\r\n", 0.1, 5.0) < 3.0


def test_empty_lines_between_requests_are_cut_off(world: World) -> None:
    limit(world, head_seconds=0.4)
    with line_to(port_of(world)) as line:
        line.sendall(head("GET", "/health"))
        assert status_of(heard(line)) == 200
        assert trickle(line, b"\r\n", 0.1, 5.0) < 3.0


def test_headers_without_end_are_cut_off(world: World) -> None:
    with line_to(port_of(world)) as line:
        line.sendall(b"GET / HTTP/1.1\r\na: ")
        assert pour(line, 64 << 20) < 64 << 20
        assert status_of(heard(line)) in (
            431,
            None,
        )  # None: the rest that was on its way cut it short
    others_are_answered(world)


def test_a_body_that_trickles_is_cut_off(world: World) -> None:
    limit(world, window_seconds=0.4, stranger_body_seconds=0.4)
    _, device = world.join("a")
    said = {"authorization": f"Bearer {device.token}", "fedops_protocol": "1"}
    for path, headers in (("/join", {"fedops_protocol": "1"}), ("/devices/me/records", said)):
        with line_to(port_of(world)) as line:
            line.sendall(head("POST", API + path, content_length=1_000, **headers))
            assert trickle(line, b" ", 0.1, 5.0) < 3.0


def test_a_device_may_wait_for_news_as_long_as_it_likes(world: World) -> None:
    limit(world, head_seconds=0.2, window_seconds=0.2, stranger_body_seconds=0.2)
    _, device = world.join("a")
    begin = time.monotonic()
    device.poll(idle(), wait=1.0)
    device.poll(wait=1.0)
    assert 1.0 < time.monotonic() - begin < LONG_POLL_SECONDS


# --- how many ----------------------------------------------------------------------------------


def test_a_crowd_of_one_address_ends_itself_and_nobody_else(world: World) -> None:
    limit(world, strangers=20, most_strangers=60, stranger_seconds=0.2)
    _, device = world.join("a")
    told: dict[str, int] = {}

    def attack() -> None:
        told.update(asyncio.run(crowd(port_of(world), 200, 1.0)))

    attacker = threading.Thread(target=attack)
    attacker.start()
    while attacker.is_alive():
        device.poll(idle())
        others_are_answered(world)
    attacker.join()
    assert told["opened"] == 200
    assert told["ended"] >= 140


def test_a_credential_has_so_many_connections(world: World) -> None:
    limit(world, of_one=2)
    _, device = world.join("a")
    _, other = world.join("b")
    said = {"authorization": f"Bearer {device.token}"}
    request = head("GET", API + "/devices/me", fedops_protocol=1, **said)
    with line_to(port_of(world)) as a, line_to(port_of(world)) as b, line_to(port_of(world)) as c:
        statuses = []
        for line in (a, b, c):
            line.sendall(request)
            statuses.append(status_of(heard(line)))
        assert statuses == [200, 200, 429]
        assert other.me().name == "b"  # it is another one


# --- how often ---------------------------------------------------------------------------------


def test_a_device_that_calls_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with managing(tmp_path, device_calls_per_minute=60.0) as world:
        _, device = world.join("a")
        _, other = world.join("b")
        for _ in range(60):
            device.me()
        with pytest.raises(TryLater, match="calls more often") as caught:
            device.me()
        assert 0.0 < (caught.value.seconds or 0.0) <= 2.0
        assert other.me().name == "b"


def test_a_device_that_sends_too_much_is_told_when_to_come_back(tmp_path: Path) -> None:
    with managing(tmp_path, device_bytes_per_minute=10_000.0) as world:
        _, device = world.join("a")
        said = {
            "authorization": f"Bearer {device.token}",
            "fedops-protocol": "1",
            "content-type": "application/json",
        }
        body = json.dumps({"records": [], "more": "x" * 5_000}).encode()
        with httpx.Client(base_url=world.url + API, headers=said, trust_env=False) as http:
            answers = [
                http.post("/devices/me/records", content=content)
                for content in (body, iter([body]), body)  # the second comes in chunks
            ]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_who_guesses_credentials_has_to_wait_and_a_good_one_from_there_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedops.server.edge.guarded.GUESSES_PER_MINUTE", 5.0)
    with managing(tmp_path) as world:
        _, device = world.join("a")
        with httpx.Client(base_url=world.url + API, trust_env=False) as http:

            def status(token: str) -> int:
                said = {"authorization": f"Bearer {token}", "fedops-protocol": "1"}
                return http.get("/devices/me", headers=said).status_code

            answers = [status(f"fo_device_{number}") for number in range(20)]
            assert (answers[0], answers[-1]) == (401, 429)
            world.manager.services.token_cache.clear()
            assert status(device.token) == 200


def test_who_guesses_join_tokens_has_to_wait_and_others_have_not(world: World) -> None:
    with httpx.Client(
        transport=httpx.HTTPTransport(local_address=FROM), base_url=world.url, trust_env=False
    ) as attacker:
        guess = {"token": "wrong", "name": "a", "public_key": "x", "proof": "y"}
        protocol = {"fedops-protocol": "1"}
        answers = [
            attacker.post(API + "/join", json=guess, headers=protocol).status_code
            for _ in range(70)
        ]
    assert answers[0] == 422
    assert answers[-1] == 429
    world.join("a")


def test_machines_that_join_from_one_address_are_counted(tmp_path: Path) -> None:
    with managing(tmp_path, joins_per_hour=3.0) as world:
        token = world.join_token(uses=10)
        for name in ("a", "b", "c"):
            world.join(name, token=token)
        with pytest.raises(Unavailable, match="too many machines asked to join"):
            world.join("d", token=token)
        assert len(world.operator.devices()) == 3


# --- under which name --------------------------------------------------------------------------


def test_another_name_and_another_sites_page_are_refused(world: World) -> None:
    token = world.manager.services.settings.admin_token_file.read_text().strip()
    said = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=world.url, headers=said, trust_env=False) as http:
        assert http.get(API + "/info").status_code == 200
        elsewhere = http.get(API + "/info", headers={"host": "rebound.example"})
        assert elsewhere.status_code == 421
        assert "FEDOPS_SERVER_PUBLIC_URL" in elsewhere.json()["message"]
        assert http.get("/health", headers={"host": "10.0.0.9"}).status_code == 200
        assert http.get("/health", headers={"host": ""}).status_code == 200
        page = http.get(API + "/info", headers={"origin": "https://evil.example"})
        assert page.status_code == 403
        assert http.get(API + "/info", headers={"origin": world.url}).status_code == 200


def test_answers_tell_browsers_to_run_and_frame_nothing(world: World) -> None:
    with httpx.Client(base_url=world.url, trust_env=False) as http:
        for path in ("/health", "/api/docs", API + "/info", "/nothing", API + "/nothing"):
            told = http.get(path).headers
            assert told["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in told["content-security-policy"]
            assert "strict-transport-security" not in told  # it came without TLS


# --- who was let in, and is not any more -------------------------------------------------------


def test_a_transfer_of_a_device_that_is_shut_out_stops(world: World) -> None:
    """A download that the device reads slowly, and an upload: both were admitted when they began."""
    world.task()
    device = world.ready_devices("a")["a"]
    other = world.ready_devices("b")["b"]
    _, engine = world.running()
    model = engine.upload(world.file(tensors.pack({"w": np.zeros(8 << 20, dtype=np.float32)})))
    blob = {"sha256": model.sha256, "size": model.size}
    arrays = {"type": "array", "tensors": [["w", "w"]], "blob": blob}
    instructions = [{"version": 1, "records": {"arrays": arrays}}]
    work = world.begin(engine, 1, "a", "b", model=model.sha256, instructions=instructions)
    device.take()
    other.take()
    told = {"authorization": f"Bearer {device.token}", "fedops_protocol": 1}
    tus = {"tus_resumable": "1.0.0", "upload_offset": 0}
    with line_to(port_of(world)) as down, line_to(port_of(world)) as up:
        down.sendall(head("GET", f"{API}/blobs/{model.sha256}", **told))
        first = down.recv(1 << 12)
        assert status_of(first) == 200
        path = begun_upload(world, device.token, work["a"])
        as_bytes = {"content_type": "application/offset+octet-stream", "content_length": 1 << 20}
        up.sendall(head("PATCH", path, **told, **tus, **as_bytes) + b"x" * 1_000)
        world.operator.decide_device("a", "revoke")
        received = len(first.partition(b"\r\n\r\n")[2]) + len(heard(down))
        assert received < model.size
        heard(up)
        assert pour(up, 64 << 20) < 64 << 20
    other.poll()  # what others do goes on
    with httpx.Client(base_url=world.url, trust_env=False, timeout=30.0) as http:
        said = {"authorization": f"Bearer {other.token}", "fedops-protocol": "1"}
        assert len(http.get(f"{API}/blobs/{model.sha256}", headers=said).content) == model.size


def begun_upload(world: World, token: str, assignment: str) -> str:
    """The path of an upload of a megabyte of which nothing has come."""
    pairs = {"assignment": assignment, "sha256": "0" * 64, "encoding": "none"}
    text = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())
    headers = {
        "authorization": f"Bearer {token}",
        "fedops-protocol": "1",
        "tus-resumable": "1.0.0",
        "upload-length": str(1 << 20),
        "upload-metadata": text,
    }
    with httpx.Client(base_url=world.url, trust_env=False) as http:
        made = http.post(f"{API}/blobs", headers=headers)
    assert made.status_code == 201, made.text
    return httpx.URL(made.headers["location"]).path
