"""The page of a run, and what one can do about it, as a browser without scripts sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from managing import World, managing
from people import user_token

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.database.tables import RoundPictureRow
from fedops.server.pictures import grids
from fedops.server.pictures.cells import Cell


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
