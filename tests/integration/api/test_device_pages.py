"""Pages of devices, as a browser without scripts sees them."""

from __future__ import annotations

import re
import uuid
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
from fedops.server.database.tables import DeviceRow
from fedops.server.devices import registry


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("pages"), dashboard=True) as made:
        made.task()
        devices = made.ready_devices("pi", "jetson")
        samples = [
            c.DeviceRecord(
                id=uuid.uuid4().hex,
                kind=c.RecordKind.TELEMETRY,
                name="device",
                data={"cpu_percent": age, "net_sent_bytes": 2e9},
                age_seconds=age,
            )
            for age in (30.0, 20.0, 10.0)
        ]
        devices["jetson"].records(c.RecordBatch(records=samples))
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


def test_what_a_device_measured_is_below_its_rounds(world: World) -> None:
    with _browser(world, Role.VIEWER) as browser:
        page = browser.get("/devices/jetson").text
        assert "since it joined" in page
        assert "Its rounds" in page
        assert "CPU over time, from 10 % to 30 %, now 10 %" in page
        assert "2.0 GB" in page
        assert "No telemetry yet" in browser.get("/devices/pi").text


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
                assert {one.name: one.tasks for one in glance} == {
                    one.name: one.tasks for one in whole
                }
                assert states.get("idle", seen) == seen
