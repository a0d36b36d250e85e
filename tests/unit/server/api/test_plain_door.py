"""Who speaks plain HTTP on a port that has TLS, and what the port of FL servers has."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from fedops.server.api.http.plain_door import OnlyBelow, PlainDoor

URL = "http://fl.example.org:8600"


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("inside")(scope, receive, send)


def answer(
    app: PlainDoor | OnlyBelow, path: str, accept: str = "*/*", method: str = "GET"
) -> httpx.Response:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.request(method, path, headers={"accept": accept})

    return asyncio.run(call())


def test_a_program_is_told_to_use_tls_and_a_browser_is_sent_there() -> None:
    door = PlainDoor(inner)
    refused = answer(door, "/api/v1/join", method="POST")
    assert (refused.status_code, refused.headers["connection"]) == (426, "close")
    assert "use https://fl.example.org:8600" in refused.json()["message"]
    sent = answer(door, "/x?y=1", accept="text/html,*/*")
    assert sent.headers["location"] == "https://fl.example.org:8600/x?y=1"
    assert answer(door, "/sign-in", accept="text/html", method="POST").status_code == 426


@pytest.mark.parametrize(
    ("path", "now", "inside"),
    [
        ("/api/v1/work", 9.0, True),
        ("/api/v1/work/1/end", 9.0, True),
        ("/api/v1/work", 10.0, False),
        ("/api/v1/workers", 9.0, False),
        ("/api/v1/tls-upgrade", 99.0, True),
        ("/api/v1/info", 9.0, False),
        ("/", 9.0, False),
    ],
)
def test_devices_of_before_are_answered_for_a_while(path: str, now: float, inside: bool) -> None:
    door = PlainDoor(
        inner,
        always=("/api/v1/tls-upgrade",),
        devices=("/api/v1/work",),
        until=10.0,
        clock=lambda: now,
    )
    assert answer(door, path).status_code == (200 if inside else 426)


def test_the_port_of_fl_servers_has_their_routes_alone() -> None:
    door = OnlyBelow(inner, "/api/v1/engine", "/api/v1/blobs")
    assert answer(door, "/api/v1/engine/hello", method="POST").text == "inside"
    for path in ("/", "/api/v1/info", "/api/v1/engines/hello", "/api/v1/engine"):
        assert answer(door, path).status_code == 404
