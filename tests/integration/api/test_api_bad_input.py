"""Whatever is sent: an answer that says what is wrong, and never an error of ours."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import httpx
import pytest
from managing import World, idle

from fedops.core import contracts as c

JSON = {"content-type": "application/json"}


@pytest.fixture
def raw(world: World) -> httpx.Client:
    token = world.manager.services.settings.admin_token_file.read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    client = httpx.Client(base_url=f"{world.url}/api/v1", headers=headers, timeout=60.0)
    world._open.append(client)
    return client


def _refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    reply = c.ErrorReply.model_validate_json(answer.content)
    assert reply.kind in ("invalid", "not_found", "conflict", "forbidden")
    return reply.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"uses": 0}, "uses: input should be greater than or equal to 1"),
        ({"uses": "many"}, "uses: input should be a valid integer"),
        ({"usage": 1}, "usage: unknown field"),
        ({"uses": 0, "usage": 1, "note": 3}, "uses: .*; note: .*; usage: unknown field"),
        ([], "the body must be a JSON object"),
        ("text", "the body must be a JSON object"),
    ],
)
def test_each_bad_field_is_named(raw: httpx.Client, body: Any, words: str) -> None:
    import re

    assert re.search(words, _refused(raw.post("/tokens", json=body), 422))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the body is missing"),
        (b"{", "no valid JSON"),
        (b'{"expires_in_seconds": NaN}', "NaN is not a number"),
        (b'{"expires_in_seconds": 1e999}', "expires_in_seconds: the number is too large"),
        (b'{"note": "\\ud800"}', "half a character"),
        (b'{"note": "a\\u0000b"}', "NUL"),
        (b"[" * 50_000, "nested"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_broken_bodies(raw: httpx.Client, content: bytes, words: str) -> None:
    assert words in _refused(raw.post("/tokens", content=content, headers=JSON), 422)


def test_a_body_beyond_the_limit(raw: httpx.Client, world: World) -> None:
    limit = world.manager.services.settings.max_body_bytes
    body = b'{"note": "' + b"x" * limit + b'"}'
    assert "larger than" in _refused(raw.post("/tokens", content=body, headers=JSON), 413)
    streamed = raw.post("/tokens", content=iter([body]), headers=JSON)
    assert "larger than" in _refused(streamed, 413)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, "there is nothing at /api/v1/nothing"),
        ("DELETE", "/tasks", 405, "takes GET, POST, not DELETE"),
        ("GET", "/runs/one", 422, "run_id: input should be a valid integer"),
        ("GET", "/runs/0", 422, "run_id"),
        ("GET", "/runs/99999999999999999999", 422, "run_id"),
        ("GET", "/runs/9223372036854775807", 404, "there is no run 9223372036854775807; none yet"),
        ("GET", "/runs?limit=0", 422, "limit"),
        ("GET", "/runs?limit=1e9", 422, "limit"),
        ("GET", "/events?after=-1", 422, "after"),
        ("GET", "/tasks/%00", 422, "task"),
        ("GET", "/tasks/..%2f..%2fetc", 404, "nothing at"),
        ("GET", "/tasks/-x", 422, "task: string should match pattern"),
        ("GET", f"/tasks/{'x' * 64}", 422, "task"),
        ("GET", "/tasks/x/models/%F0%9F%98%80", 422, "version"),
        ("GET", "/devices/%ff", 422, "device"),
        ("POST", "/tokens/0/revoke", 422, "token_id"),
    ],
)
def test_paths_and_queries(
    raw: httpx.Client, method: str, path: str, status: int, words: str
) -> None:
    assert words in _refused(raw.request(method, path), status)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", '"x"', "1e999"])
def test_long_polls_are_bounded(world: World, value: str) -> None:
    _, device = world.join("pi")
    headers, url = device._http.headers, f"{world.url}/api/v1/work"
    body = f'{{"after": 0, "wait": {value}}}'
    answer = httpx.post(url, headers=headers, content=body, timeout=60.0)
    assert re.search("wait|not a number", _refused(answer, 422))


def test_numbers_that_are_none_never_get_in(world: World) -> None:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("a")
    run, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected={"a": "x"}))
    good = json.loads(world.commit(engine, 1, "a").model_dump_json())
    headers = dict(engine._http.headers) | JSON
    url = f"{world.url}/api/v1/engine/rounds/1/commit"
    for where in ("metrics", "client_metrics", "train_metrics", "timing"):
        for value in (math.nan, math.inf, -math.inf):
            body = json.dumps(good | {where: {"loss": value}})
            assert "no valid JSON" in _refused(
                httpx.post(url, content=body, headers=headers, timeout=60.0), 422
            )
    body = json.dumps(good | {"seconds": 77}).replace("77", "1e400")
    assert "seconds: the number is too large" in _refused(
        httpx.post(url, content=body, headers=headers, timeout=60.0), 422
    )
    assert world.operator.run(run.id).committed_rounds == 0


def test_records_that_carry_bad_data_are_refused_as_a_whole(world: World) -> None:
    _, device = world.join("pi")
    good = c.DeviceRecord(id="12345678", kind=c.RecordKind.LOG, text="hello")
    body = c.RecordBatch(records=[good]).model_dump_json()
    headers = dict(device._http.headers) | JSON
    url = f"{world.url}/api/v1/devices/me/records"
    bad = body.replace('"data":{}', '"data":{"x": NaN}')
    assert bad != body
    assert "NaN" in _refused(httpx.post(url, content=bad, headers=headers, timeout=60.0), 422)
    deep = body.replace('"data":{}', '"data":{"x": ' + "[" * 40 + "]" * 40 + "}")
    assert "nested" in _refused(httpx.post(url, content=deep, headers=headers, timeout=60.0), 422)
    huge = body.replace('"run_id":null', '"run_id":9223372036854775807')
    answer = httpx.post(url, content=huge, headers=headers, timeout=60.0)
    assert answer.json()["refused"] == [
        "12345678: this device was not asked to work in a run 9223372036854775807"
    ]
    assert device.records(c.RecordBatch(records=[good])).accepted == 1


def test_polls_with_extreme_numbers_are_answered(world: World) -> None:
    world.task()
    _, device = world.join("pi")
    extreme = idle().model_copy(update={"spool_records": 2**63 - 1, "spool_dropped": 2**63 - 1})
    process = extreme.process.model_copy(
        update={"pid": -(2**63), "run_id": 2**63 - 1, "seconds_in_state": 1e308}
    )
    held = c.HeldAssignment(id="0" * 32, done=2**63 - 1, total=2**63 - 1)
    device.work(extreme.model_copy(update={"process": process, "held": [held], "after": 2**63 - 1}))
    assert world.operator.device("pi").online


def test_a_device_that_is_newer_than_the_server_is_understood(world: World) -> None:
    world.task()
    reply, _ = world.join("pi")
    headers = {**JSON, "authorization": f"Bearer {reply.device_token}"}
    body = idle().model_dump(mode="json") | {"invented_later": 1}
    body["process"]["invented_later"] = {"so": "what"}
    url = f"{world.url}/api/v1/work"
    headers["fedops-protocol"] = "1"
    assert httpx.post(url, json=body, headers=headers, timeout=60.0).status_code == 200
    assert world.operator.device("pi").process.status == body["process"]["status"]


def test_a_broken_upload_leaves_nothing(world: World) -> None:
    def blocks() -> Any:
        yield b"x" * 100_000
        raise OSError("the cable was pulled")

    token = world.manager.services.settings.admin_token_file.read_text().strip()
    with pytest.raises(OSError, match="cable"):
        httpx.put(
            f"{world.url}/api/v1/bundles",
            headers={"authorization": f"Bearer {token}"},
            content=blocks(),
            timeout=60.0,
        )
    root = world.manager.services.settings.home / "artifacts"
    for _ in range(200):  # the server hears of it a moment later
        if not [p for p in root.rglob("*") if p.is_file()]:
            return
        world.operator.info()
    pytest.fail("the unfinished upload was kept")


def test_the_description_of_the_api_is_complete(world: World) -> None:
    document = httpx.get(f"{world.url}/api/openapi.json", timeout=60.0).json()
    paths = set(document["paths"])
    assert {"/api/v1/engine/rounds/{round}/commit", "/api/v1/engine/collect", "/health"} <= paths
    page = httpx.get(f"{world.url}/api/docs", timeout=60.0)
    assert page.status_code == 200
    assert all(path in page.text for path in paths)
    assert "<b>RoundCommit</b>" in page.text
    assert "http://" not in page.text  # it works without a network
    assert "https://" not in page.text
