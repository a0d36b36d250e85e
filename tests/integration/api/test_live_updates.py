"""Open pages hear what happens: in time, completely, and no more than they may know."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from managing import World, managing
from people import user_token
from websockets.asyncio.client import ClientConnection

from fedops.core import contracts as c
from fedops.core.states import Role, TokenKind
from fedops.server.access.principal import Principal
from fedops.server.dashboard.live.hub import MOST_EVENTS, MOST_WAITING
from fedops.server.dashboard.live.message import RELOAD, news_of
from fedops.server.dashboard.live.page import Drawn, draw_anew
from fedops.server.dashboard.mounting import PAGES
from fedops.server.dashboard.web.assets import build
from fedops.server.dashboard.web.view import View
from fedops.server.events import event_log
from fedops.server.events.news import EventNews, newest_event

#: From an event to the message that tells of it.
SOON = 1.0
COOKIE = "fedops_session"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path, dashboard=True) as made:
        made.task("mnist")
        made.running("mnist")
        yield made


def session(world: World, role: Role = Role.OPERATOR, tasks: list[str] | None = None) -> str:
    """The cookie of a browser that has signed in."""
    with httpx.Client(base_url=world.url) as browser:
        browser.post("/sign-in", data={"secret": user_token(world, role, tasks)})
        return browser.cookies[COOKIE]


@asynccontextmanager
async def opened(
    world: World, cookie: str, at: str = "/", seq: int = 0, **hello: Any
) -> AsyncIterator[ClientConnection]:
    """A page that is open. It has nothing yet, unless it says so."""
    url = f"{world.url.replace('http', 'ws')}/live?at={at}"
    headers = {"cookie": f"{COOKIE}={cookie}"}
    origin: Any = world.url
    async with websockets.connect(url, additional_headers=headers, origin=origin) as page:
        said = {"seq": seq, "panels": {}, "build": build(), **hello}
        await page.send(json.dumps(said))
        yield page


async def hear(page: ClientConnection, seconds: float = 10.0) -> dict[str, Any]:
    """The next message that says something."""
    async with asyncio.timeout(seconds):
        while not (said := unpacked(await page.recv())):
            pass
        return said


def unpacked(message: str | bytes) -> dict[str, Any]:
    return dict(json.loads(zlib.decompress(message) if isinstance(message, bytes) else message))


async def hear_until(page: ClientConnection, id_: int, seconds: float = 15.0) -> list[int]:
    """The ids of all events that a page is told of, up to this one."""
    found: list[int] = []
    async with asyncio.timeout(seconds):
        while not found or max(found) < id_:
            found += json.loads(await page.recv()).get("events", [])
    return found


def happen(
    world: World, count: int = 1, run_id: int | None = None, subject: str = "run 1"
) -> list[int]:
    """Events, as something of the server writes them. Their ids."""
    db, clock = world.manager.services.db, world.manager.services.clock
    with db.write() as transaction:
        for _ in range(count):
            event_log.append_event(
                transaction, clock(), "somebody", subject, "run.noted", "", run_id
            )
    with db.read() as transaction:
        newest = event_log.list_events(transaction, after=_newest(world) - count)
    return [event.id for event in newest]


def _newest(world: World) -> int:
    with world.manager.services.db.read() as transaction:
        return newest_event(transaction)


def test_an_event_is_on_the_page_within_a_second(world: World) -> None:
    cookie = session(world)

    async def watch() -> float:
        async with opened(world, cookie, "/runs/1", _newest(world)) as page:
            first = await hear(page)
            assert "panels" in first
            began = time.monotonic()
            ids = await asyncio.to_thread(happen, world, 1, 1)
            assert await hear_until(page, ids[-1]) == ids
            return time.monotonic() - began

    assert asyncio.run(watch()) < SOON + 1.0  # a busy machine


def test_a_page_that_comes_back_misses_nothing_and_gets_what_differs(world: World) -> None:
    cookie = session(world)

    async def come_back() -> None:
        seq = _newest(world)
        async with opened(world, cookie, "/runs/1", seq) as page:
            panels = (await hear(page))["panels"]
        digests = {name: one["digest"] for name, one in panels.items()}
        async with opened(world, cookie, "/runs/1", seq, panels=digests) as page:
            same = await hear(page)
            assert (same["panels"], same["events"]) == ({}, [])
        missed = await asyncio.to_thread(happen, world, 30, 1)
        other = await asyncio.to_thread(happen, world, 5, None, "device pi")
        last = await asyncio.to_thread(happen, world, 1, 1)
        async with opened(world, cookie, "/runs/1", seq, panels=digests) as page:
            told = await hear_until(page, last[-1])
        assert told == [*missed, *last]  # and none of what is no event of the run
        assert not set(told) & set(other)

    asyncio.run(come_back())


def test_who_was_away_for_too_long_begins_anew(world: World) -> None:
    cookie, seq = session(world), _newest(world)
    happen(world, MOST_EVENTS + 1, 1)

    async def come_back() -> dict[str, Any]:
        async with opened(world, cookie, "/runs/1", seq) as page:
            return await hear(page)

    assert asyncio.run(come_back()) == {"reload": True}


def test_a_page_of_another_build_is_loaded_anew(world: World) -> None:
    cookie = session(world)

    async def come_back() -> dict[str, Any]:
        async with opened(world, cookie, build="another") as page:
            return await hear(page)

    assert asyncio.run(come_back()) == {"reload": True}


def test_nobody_hears_of_tasks_that_are_not_theirs(world: World) -> None:
    world.task("digits")
    world.running("digits")
    cookie = session(world, Role.VIEWER, ["digits"])

    async def watch() -> tuple[list[int], list[int], str]:
        async with opened(world, cookie, "/", _newest(world)) as page:
            shown = json.dumps(await hear(page))
            await asyncio.to_thread(happen, world, 3, 1)  # of mnist
            theirs = await asyncio.to_thread(happen, world, 2, 2)
            return await hear_until(page, theirs[-1]), theirs, shown

    heard, theirs, shown = asyncio.run(watch())
    assert heard == theirs
    assert "tasks/mnist" not in shown


@pytest.mark.parametrize(
    "less", [c.UserUpdate(role=Role.VIEWER), c.UserUpdate(tasks=["other"])], ids=["role", "tasks"]
)
def test_a_page_is_loaded_anew_when_its_user_may_see_less(world: World, less: c.UserUpdate) -> None:
    cookie = session(world)

    async def watch() -> dict[str, Any]:
        async with opened(world, cookie, "/runs/1") as page:
            assert "panels" in await hear(page)
            await asyncio.to_thread(world.operator.update_user, "the-operator", less)
            async with asyncio.timeout(10.0):
                while not (said := await hear(page)).get("reload"):
                    pass
                await page.wait_closed()  # it hears nothing more by what it might see before
            return said

    assert asyncio.run(watch()) == {"reload": True}


@pytest.mark.parametrize("at", ["/runs/77", "/nothing", "/runs/x", "//", "/runs/1/stop", "/users"])
def test_what_is_no_page_of_theirs_is_refused(world: World, at: str) -> None:
    cookie = session(world, Role.VIEWER, ["digits"])

    async def ask() -> None:
        async with opened(world, cookie, at) as page:
            await page.recv()

    with pytest.raises(Exception, match=r"403|1008"):
        asyncio.run(ask())


def test_long_messages_are_packed_for_those_who_can_unpack_them(world: World) -> None:
    cookie = session(world)

    async def first(**hello: Any) -> str | bytes:
        async with opened(world, cookie, "/", **hello) as page:
            return await page.recv()

    packed, plain = asyncio.run(first(unpacks=True)), asyncio.run(first())
    assert isinstance(packed, bytes)
    assert isinstance(plain, str)
    assert unpacked(packed)["panels"].keys() == unpacked(plain)["panels"].keys() > set()
    assert len(packed) < len(plain) / 2


def test_a_short_message_is_sent_as_it_is() -> None:
    assert RELOAD.packed is None


@pytest.mark.parametrize(
    "hello", ["", "[]", "nothing", b"\x00", '{"seq": -1, "panels": 7}', "x" * 70_000]
)
def test_a_wrong_first_message_breaks_nothing(world: World, hello: str | bytes) -> None:
    cookie = session(world)

    async def ask() -> dict[str, Any]:
        url = f"{world.url.replace('http', 'ws')}/live?at=/"
        headers = {"cookie": f"{COOKIE}={cookie}"}
        origin: Any = world.url
        async with websockets.connect(url, additional_headers=headers, origin=origin) as page:
            await page.send(hello)
            return await hear(page)

    assert asyncio.run(ask()) == {"reload": True}  # it does not name the build


def test_many_pages_come_back_after_the_server_was_started_again(tmp_path: Path) -> None:
    """Each hears exactly what happened while it was away, whichever process answers."""
    pages, seen = 100, 0
    with managing(tmp_path, dashboard=True) as before:
        before.task("mnist")
        before.running("mnist")
        cookie, seq = session(before), _newest(before)
        seen = len(happen(before, 7, 1))
    with managing(tmp_path, dashboard=True) as world:

        async def one(there: asyncio.Semaphore) -> list[int]:
            async with opened(world, cookie, "/runs/1", seq) as page:
                first = await hear(page, 60.0)
                there.release()
                later = await hear_until(page, first["seq"] + 1, 60.0)
                return [*first["events"], *later]

        async def all_of_them() -> list[list[int]]:
            there = asyncio.Semaphore(0)
            asked = [asyncio.create_task(one(there)) for _ in range(pages)]
            for _ in asked:
                await there.acquire()
            await asyncio.to_thread(happen, world, 1, 1)
            return await asyncio.gather(*asked)

        found = asyncio.run(all_of_them())
    assert len(found) == pages
    assert {tuple(ids) for ids in found} == {tuple(range(seq + 1, seq + seen + 2))}


def test_two_processes_on_one_database_tell_the_same(tmp_path: Path) -> None:
    """What one writes, pages that the other serves hear of."""
    with managing(tmp_path, dashboard=True) as one:
        one.task("mnist")
        one.running("mnist")
        cookie, seq = session(one), _newest(one)
        url = one.manager.services.db.url.render_as_string(hide_password=False)
        (tmp_path / "other").mkdir()
        with managing(tmp_path / "other", url, dashboard=True) as other:

            async def watch() -> tuple[list[int], list[int]]:
                async with opened(other, cookie, "/runs/1", seq) as page:
                    await hear(page)
                    ids = await asyncio.to_thread(happen, one, 3, 1)
                    return await hear_until(page, ids[-1]), ids

            heard, ids = asyncio.run(watch())
    assert heard == ids


def test_who_does_not_read_is_left_behind_and_comes_back_complete(world: World) -> None:
    hub = world.app.state.pages
    cookie, seq = session(world), _newest(world)

    async def watch() -> None:
        async with opened(world, cookie, "/runs/1", seq) as page:
            await hear(page)
            watched = next(iter(hub._watched.values()))
            slow = next(iter(watched.viewers))
            for number in range(MOST_WAITING + 2):  # more than it was ever sent
                slow.send(news_of(0, [], {}, float(number)))
            async with asyncio.timeout(10.0):
                await page.wait_closed()
            assert page.close_code == 1013
        missed = await asyncio.to_thread(happen, world, 3, 1)
        async with opened(world, cookie, "/runs/1", seq) as page:
            assert await hear_until(page, missed[-1]) == missed

    asyncio.run(watch())


def test_nothing_is_drawn_when_nobody_looks(world: World) -> None:
    hub = world.app.state.pages
    cookie = session(world)

    async def look() -> None:
        async with opened(world, cookie) as page:
            await hear(page)
            assert len(hub._watched) == 1

    asyncio.run(look())
    deadline = time.monotonic() + 5.0
    while hub._watched and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not hub._watched


def test_an_event_that_is_none_of_its_rounds_leaves_what_they_brought(tmp_path: Path) -> None:
    """And a round that is committed is drawn with the next look, without waiting for a sweep."""
    with managing(tmp_path, dashboard=True) as world:
        world.task("mnist")
        world.ready_devices("pi")
        _, engine = world.running("mnist")
        services, who = world.manager.services, _anybody()
        page = next(one for one in PAGES if one.path == "/runs/{run_id}")
        before: dict[str, Drawn] = {}

        def drawn(*names: str) -> set[str]:
            """The panels that are drawn for these events; for none: at first."""
            events = [EventNews(1, name, "run 1", 1) for name in names] or None
            with services.db.read() as transaction:
                view = View(services, transaction, who, {"run_id": "1"}, {}, services.clock())
                anew = draw_anew(page.panels(view), view, events, before)
            before.update(anew)
            return set(anew)

        every = drawn()
        assert {"head", "learning", "grid", "trouble", "times", "rounds", "tab"} <= every
        assert drawn("device.online") == {"head", "tab"}
        assert drawn("round.scored") == {"head", "tab"}
        world.begin(engine, 1, "pi")
        assert drawn("round.begun") == every
        engine.commit(world.commit(engine, 1, "pi"))
        assert drawn("round.committed") == every
        assert drawn("round.committed") == {"head", "tab"}


def _anybody() -> Principal:
    return Principal(TokenKind.PERSONAL, 1, user_id=1, user="admin", roles=(Role.ADMIN,))


def test_who_leaves_before_being_let_in_is_no_mistake_of_ours(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = world.url.removeprefix("http://").split(":")
    key = base64.b64encode(bytes(16)).decode()
    lines = [
        f"GET /live?at=/ HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade",
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nOrigin: {world.url}",
        f"Cookie: {COOKIE}={session(world)}\r\n\r\n",
    ]
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall("\r\n".join(lines).encode())
    with httpx.Client(base_url=world.url) as browser:
        assert browser.get("/sign-in").status_code == 200
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == []
