"""Pages of devices, as a browser without scripts sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from managing import World, managing
from people import user_token
from sqlalchemy import select

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.database import lookup
from fedops.server.database.tables import DeviceRow, RecordRow
from fedops.server.devices import registry


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("pages"), dashboard=True) as made:
        made.task()
        devices = made.ready_devices("pi", "jetson")
        run, engine = made.running("mnist")
        made.begin(engine, 1, "pi")
        work = c.HeldAssignment(id=devices["pi"].take().id, stage=c.Stage.TRAINING, done=1, total=4)
        client = c.ProcessReport(
            status="training", task="mnist", run_id=run.id, restarts=2, unmet_conditions="at night"
        )
        devices["pi"].poll(c.WorkPoll(tasks=["mnist"], process=client), held=[work])
        made.step()
        yield made


@contextmanager
def _browser(world: World, role: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, follow_redirects=True) as made:
        made.post("/sign-in", data={"secret": user_token(world, role), "next": "/"})
        yield made


def test_an_operator_sees_devices_and_acts_on_them(world: World) -> None:
    with _browser(world, Role.OPERATOR) as browser:
        shown = browser.get("/devices")
        assert shown.status_code == 200
        assert "jetson" in shown.text
        assert "jetson" not in browser.get("/devices?text=pi").text.split("<tbody>")[1]
        page = browser.get("/devices/pi")
        assert page.status_code == 200
        assert "Quarantine" in page.text
        told = browser.post("/devices/pi/tags", data={"tags": "ward gpu"})
        assert "gpu, ward" in told.text
        again = browser.post("/devices/pi/rename", data={"name": "jetson"})
        assert "is taken by another device" in again.text
        assert browser.get("/devices/nobody").status_code == 404


def test_a_device_says_what_it_does_and_measures_under_its_rounds(world: World) -> None:
    with world.manager.services.db.write() as session:
        device = lookup.require_device(session, "pi")
        for age in range(3):
            row = RecordRow(device_id=device.id, id=f"sample-{age}", kind="telemetry")
            row.data = {"cpu_percent": 10.0 * age, "battery_percent": None}
            row.at = row.received_at = world.clock() - age
            session.add(row)
    with _browser(world, Role.VIEWER) as browser:
        page = browser.get("/devices/pi").text
    assert "training epoch 2 of 4" in page
    assert "2 restarts" in page
    assert "since it joined" in page
    assert "at night" in page
    lanes = page.split("Measured by itself")[1].split("</section>")[0]
    assert "round 1 of run 1, selected" in lanes
    assert '<polyline points="0.0,3.0 500.0,22.0 1000.0,41.0"/>' in lanes
    assert "Battery" not in lanes


def test_some_devices_are_upgraded_by_name_or_tag(world: World) -> None:
    with _browser(world, Role.OPERATOR) as browser:
        browser.post("/devices/jetson/tags", data={"tags": "bay"})
        assert "no device is meant by &#39;tag:none&#39;" in (
            browser.post("/devices/upgrade", data={"names": "tag:none"}).text
        )
        with world.manager.services.db.write() as session:
            for name in ("pi", "jetson"):
                row = lookup.require_device(session, name)
                row.info = {**row.info, "fedops": "1.0.0"}
        assert "jetson, pi" in browser.get("/devices/upgrade").text
        told = browser.post("/devices/upgrade", data={"names": "tag:bay", "canary": "1"})
        assert "of 1 device has begun" in told.text
        assert "waiting" in browser.get("/devices/jetson").text.split("Upgrade</dt>")[1][:200]
        assert "Upgrade pi" in browser.get("/devices/pi").text


def test_a_token_is_shown_once_and_its_device_is_watched(world: World) -> None:
    with _browser(world, Role.OPERATOR) as browser:
        assert browser.get("/join").status_code == 200
        made = browser.post("/join", data={"uses": "1", "task": "mnist", "valid": "1 hour"})
        found = re.search(r"fo_join_[\w-]+", made.text)
        where = re.search(r'href="(/join/\d+)"', made.text)
        assert found is not None
        assert where is not None
        assert "Nobody has joined" in browser.get(where[1]).text
        world.join("newcomer", token=found[0])
        watched = browser.get(where[1]).text
        assert "newcomer" in watched
        assert found[0] not in watched


def test_a_viewer_finds_no_action(world: World) -> None:
    with _browser(world, Role.VIEWER) as browser:
        page = browser.get("/devices/jetson")
        assert page.status_code == 200
        assert "data-dialog>" not in page.text
        assert browser.post("/devices/jetson/revoke").status_code == 403


#: What a training client may say, by the name of its device.
_SAID: dict[str, dict[str, object]] = {
    "idle": {"status": "idle"},
    "trains": {"status": "training", "task": "mnist", "run_id": 1, "round": 1},
    "elsewhere": {"status": "training", "task": "other", "run_id": 2, "round": 1},
    "fatal": {"status": "fatal", "reason": "it crashed five times"},
    "unready": {"status": "idle", "readiness": [{"task": "mnist", "status": "refused"}]},
    "unready-for-other": {"status": "idle", "readiness": [{"task": "other", "status": "refused"}]},
    "refuses": {"status": "idle", "refusal": {"task": "mnist", "reason": "no such layer"}},
    "refuses-other": {"status": "idle", "refusal": {"task": "other", "reason": "no such layer"}},
}


def test_a_glance_at_devices_tells_what_the_whole_list_does(tmp_path: Path) -> None:
    with managing(tmp_path) as world:
        world.task()
        world.task("other")
        made = world.ready_devices(*_SAID)
        with world.manager.services.db.write() as session:
            for row in session.scalars(select(DeviceRow)):
                row.process, row.process_at = _SAID[row.name], world.clock()
        world.operator.decide_device("fatal", "revoke")
        assert len(made) == len(_SAID)
        for later, seen in ((0.0, "idle"), (3_600.0, "lost")):
            now = world.clock() + later
            for within in (None, frozenset({"mnist"}), frozenset({"other"})):
                with world.manager.services.db.read() as session:
                    whole = registry.list_devices(session, now, within=within)
                    glance = registry.glance_at_devices(session, now, within)
                states = {one.name: one.state for one in glance}
                assert states == {one.name: registry.state_of(one) for one in whole}
                assert states.get("idle", seen) == seen
