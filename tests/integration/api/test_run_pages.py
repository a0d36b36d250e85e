"""The page of a run, and what one can do about it, as a browser without scripts sees it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from browsing import CHROMIUM, chromium, open_page, sign_in
from managing import World, managing
from people import user_token
from playwright.sync_api import expect

from fedops.core import contracts as c
from fedops.core.states import ParticipationStatus, Role
from fedops.server.database.tables import RoundPictureRow
from fedops.server.pictures import grids
from fedops.server.pictures.cells import Cell
from fedops.server.pictures.round_times import client_time, slowest


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("run"), dashboard=True) as made:
        made.task()
        made.ready_devices("pi", "jetson")
        yield made


@contextmanager
def _browser(world: World, role: Role = Role.OPERATOR) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, follow_redirects=True) as made:
        made.post("/sign-in", data={"secret": user_token(world, role), "next": "/"})
        yield made


def test_a_run_that_is_over_is_gone_on_from(world: World) -> None:
    run, engine = world.running()
    world.do_round(engine, 1, "pi", "jetson")
    with _browser(world) as browser:
        early = browser.post("/runs/1/extend", data={"rounds": "2", "overrides": "a.b=1"})
        assert early.status_code == 409
        assert "only a run that is over can be extended" in early.text
        assert "a.b=1" in early.text
        engine.finish(c.EngineFinish(outcome="failed", text="the disk is full"))
        page = browser.get(f"/runs/{run.id}").text
        assert "Retry run 1" in page
        assert "Stop run 1" not in page
        assert "no whole number" in browser.post("/runs/1/extend", data={"rounds": "many"}).text
        retried = browser.post("/runs/1/retry")
        assert retried.url.path == "/runs/2"
        assert "Run 2 does the rest of run 1." in retried.text
    with _browser(world, Role.VIEWER) as browser:
        assert "Retry" not in browser.get("/runs/1").text
        assert browser.post("/runs/1/retry").status_code == 403


def test_a_limit_that_is_near_is_told(world: World) -> None:
    world.running()
    with _browser(world) as browser:
        limit = world.operator.run(1).limit_seconds
        assert limit
        assert "tone-soon" not in browser.get("/runs/1").text
        world.clock.advance(0.9 * limit)
        assert "tone-soon" in browser.get("/runs/1").text


def test_a_committed_round_leaves_a_picture_of_its_devices(world: World) -> None:
    _, engine = world.running()
    world.begin(engine, 1, "pi", "jetson")
    commit = world.commit(engine, 1, "pi")
    part = commit.participations[0].model_copy(update={"metrics": {"loss": 0.5, "eval_loss": 2.0}})
    engine.commit(commit.model_copy(update={"participations": [part]}))
    world.do_round(engine, 2, "jetson")
    world.begin(engine, 3, "pi")
    with world.manager.services.db.read() as session:
        grid = grids.read_grid(session, 1)
        assert grid.open == 3
        cells = {
            name: [Cell(int(cell)) for cell in row]
            for name, row in zip(grid.devices, grids.cells_of(grid), strict=True)
        }
        troubled = grids.in_trouble(grid)
    assert cells["pi"] == [Cell.REPLIED, Cell.NOT_ASKED, Cell.ASKED]
    assert cells["jetson"] == [Cell.LATE, Cell.REPLIED, Cell.NOT_ASKED]
    assert [(one.device, one.rounds, one.asked, one.last) for one in troubled] == [
        ("jetson", 1, 2, 1)
    ]
    with world.manager.services.db.read() as session:
        kept = session.get_one(RoundPictureRow, (1, 1)).spread
    assert kept == {"train_loss": [0.5] * 7}


def test_the_page_says_who_did_what_and_why_not(world: World) -> None:
    _, engine = world.running()
    devices = world.ready_devices("slow-one")
    world.begin(engine, 1, "pi", "slow-one")
    devices["slow-one"].take()
    world.step()
    engine.progress(c.EngineProgress(phase="training", round=1, selected=["pi", "slow-one"]))
    with _browser(world) as browser:
        page = browser.get("/runs/1").text
        assert "1 of 2 took it on" in page
        assert "1 at work" in page
        reason = "it was late by 3 s, and <b>said so</b>"
        commit = world.commit(engine, 1, "pi", "slow-one")
        pi, slow = commit.participations
        late = c.ParticipationReport(
            device=slow.device, status=ParticipationStatus.DROPPED, reason=reason
        )
        engine.commit(commit.model_copy(update={"participations": [pi, late]}))
        page = browser.get("/runs/1?cell=slow-one,1").text
        assert "1 of 2 devices had trouble" in page
        assert "slow-one, round 1" in page
        assert "&lt;b&gt;said so" in page
        assert "<b>said so" not in page
        assert "There is no such device" in browser.get("/runs/1?cell=nobody,1").text
        told = browser.get("/runs/1/grid").json()
        lines = browser.get("/runs/1/rounds.csv").text.splitlines()
    assert lines[0] == "round,committed_at,seconds,replied,asked,accuracy"
    assert lines[1].endswith(",1.0,1,2,0.1")
    assert told["rounds"] == [1]
    cells = base64.b64decode(told["columns"][0])
    words = {name: told["words"][cells[at]] for at, name in enumerate(told["devices"])}
    assert words == {"pi": "replied", "slow-one": "late"}


def test_the_slowest_client_decides_the_round() -> None:
    at_once = {"offered_at": 0.0, "accepted_at": 1.0, "sending_at": None, "delivered_at": 6.0}
    uploads = {"offered_at": 0.0, "accepted_at": 2.0, "sending_at": 9.0, "delivered_at": 46.0}
    quick, slow = client_time("quick", 4.0, **at_once), client_time("slow", 4.0, **uploads)
    assert client_time("gone", None, **uploads | {"delivered_at": None}) is None
    assert quick is not None
    assert slow is not None
    assert (quick.waits, quick.fetches, quick.works, quick.sends) == (1.0, 1.0, 4.0, 0.0)
    assert (slow.waits, slow.fetches, slow.works, slow.sends) == (2.0, 3.0, 4.0, 37.0)
    assert [one["device"] for one in slowest([quick, slow])] == ["slow", "quick"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_grid_is_walked_by_keys_and_lives_on(world: World) -> None:
    _, engine = world.running()
    world.do_round(engine, 1, "pi", "jetson")
    world.begin(engine, 2, "pi", "jetson")
    with chromium() as browser:
        page, watch = open_page(browser)
        sign_in(page, world.url, user_token(world, Role.VIEWER), "/runs/1")
        page.wait_for_function("() => window.fedops.grid.opened > 0")
        status = page.locator("#grid-status")
        page.focus(".grid-box")
        page.keyboard.press("End")
        expect(status).to_have_text("jetson, round 2: asked")
        engine.commit(world.commit(engine, 2, "pi"))
        page.wait_for_function("() => window.fedops.grid.updated > 0")
        page.keyboard.press("ArrowUp")
        expect(status).to_have_text("jetson, round 2: late")
        page.keyboard.press("Enter")
        expect(page.locator("#panel-cell h2")).to_have_text("jetson, round 2")
        expect(status).to_have_text("jetson, round 2: late")
        assert watch.problems() == []
