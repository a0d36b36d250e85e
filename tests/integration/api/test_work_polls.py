"""The long poll of a device: what it is told, when, and what is refused before it is read."""

from __future__ import annotations

import time

import httpx
import pytest
from managing import World, idle, later

from fedops.core import contracts as c
from fedops.core.errors import Forbidden, Invalid, NotFound


def test_a_poll_waits_and_is_woken_by_an_offer(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    a.poll()
    began = time.monotonic()
    with later(0.3, lambda: world.begin(engine, 1, "a")):
        assert a.poll(wait=10).offers
    assert 0.2 < time.monotonic() - began < 2.0


def test_an_offer_is_repeated_until_it_is_held(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    made = world.begin(engine, 1, "a")
    a.poll()  # its answer was lost
    for _ in range(2):  # at once when the poll does not wait, after a moment when it does
        began = time.monotonic()
        assert [offer.id for offer in a.poll(wait=5).offers] == [made["a"]]
        assert time.monotonic() - began < 1.5
    again = a.poll(idle().model_copy(update={"life": "another"}), wait=5)
    assert [offer.id for offer in again.offers] == [made["a"]]  # a new life is told at once


def test_an_accepted_offer_is_given_to_a_device_that_forgot_it(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a")
    taken = a.take()
    a.held = []
    assert [offer.id for offer in a.poll(wait=2).offers] == [taken.id]
    assert a.instruction(taken.id) == taken


def test_two_copies_of_a_device_get_no_work(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a")
    here, copy = (idle().model_copy(update={"life": life}) for life in ("here", "copy"))
    assert a.poll(here).offers
    a.poll(copy)
    for body in (here, copy):
        work = a.poll(body)
        assert not work.offers
        assert "data dir was copied" in work.problems[0]
    (found,) = engine.candidates().candidates
    assert "data dir was copied" in str(found.unavailable)


def test_what_a_device_holds_of_another_server_is_forgotten(world: World) -> None:
    _, a = world.join("a")
    a.held = ["0" * 32]
    assert a.poll().forget == ["0" * 32]


def test_a_poll_of_another_version_is_told_what_to_do(world: World) -> None:
    _, a = world.join("a")
    for said in ("", "0", "7", "x"):
        headers = {"fedops-protocol": said, "authorization": a._http.headers["authorization"]}
        for path in ("work", "devices/me/heartbeat", "engine/hello"):
            answer = httpx.post(f"{world.url}/api/v1/{path}", headers=headers, json={}, timeout=60)
            assert answer.status_code == 426, path
            assert "this server speaks version 1 of the FedOps protocol" in answer.json()["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/devices/me/heartbeat",
        "/api/v1/devices/me/desired?wait=5",
        "/api/v1/node/bell",
        "/api/v1/node/uploads/7",
        "/v1/fleet/pull-messages",
    ],
)
def test_what_devices_of_before_call_says_to_update_them(world: World, path: str) -> None:
    _, a = world.join("a")
    for method in ("GET", "POST"):
        for headers in ({}, dict(a._http.headers)):
            answer = httpx.request(method, world.url + path, headers=headers, timeout=60)
            assert answer.status_code == 426, (method, path)
            assert "update FedOps on this machine" in answer.json()["message"]


def test_who_is_too_old_to_work_cannot_join_either(world: World) -> None:
    answer = httpx.post(f"{world.url}/api/v1/join", json={}, timeout=60)
    assert answer.status_code == 426


def test_bad_calls_are_refused_before_they_are_read(world: World) -> None:
    _, a = world.join("a")
    for data, words in (
        (b"{", "no valid JSON"),
        (b'{"held": [{"id": "x"}]}', "held.0.id"),
        (b'{"wait": -1}', "wait"),
        (b"[" * 100 + b"]" * 100, "nested"),
        (b" " * (300 << 10), "larger than"),
    ):
        with pytest.raises(Invalid, match=words):
            a._send("POST", "/work", content=data)
    with pytest.raises(NotFound, match="there is nothing at"):
        a._send("POST", "/work/x/y/z")
    with pytest.raises(Invalid, match="larger than the 65,536 bytes"):
        a.deliver("0" * 32, b"x" * (c.INLINE_BYTES + 1))
    with pytest.raises(Forbidden, match="takes the token of a device"):
        world.operator._send("POST", "/work", json={})
