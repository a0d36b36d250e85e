"""Pages of tasks, as a browser without scripts sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import pytest
from managing import World, bundle, managing
from people import user_token
from sqlalchemy.orm import Session

from fedops.core import contracts as c
from fedops.core.states import DeploymentStatus, Role, RolloutStatus
from fedops.server.database import lookup
from fedops.server.database.tables import DataRow, DeploymentRow, MembershipRow, RolloutRow
from fedops.server.delivery.rollouts import delivery_views, wave_standings
from fedops.server.tasks import task_list, task_members

GOOD, OLD = "a" * 40, "b" * 40
MARKUP = "<b>not bold</b>"
SCHEDULE = {
    "name": "nightly",
    "kind": "every",
    "every": "6",
    "unit": "hours",
    "margin": "0.01",
    "rule": "better",
    "missed": "once",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("pages"), dashboard=True) as made:
        made.task("mnist")
        made.task("aside")
        made.ready_devices("pi", "jetson")
        made.join("newcomer")
        _, engine = made.running("mnist")
        made.do_round(engine, 1, "pi", "jetson")
        chosen = c.SelectionDecision(device="pi", chosen=True, reason="it is fast", score=2.0)
        other = c.SelectionDecision(device="jetson", chosen=False, reason="it needs 48 s a round")
        engine.begin_round(2, c.RoundBegin(selected={"pi": "fast"}, decisions=[chosen, other]))
        yield made


@pytest.fixture
def browser(world: World) -> Iterator[httpx.Client]:
    with _browser(world, Role.OPERATOR) as made:
        yield made


@contextmanager
def _browser(world: World, role: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, follow_redirects=True) as made:
        made.post("/sign-in", data={"secret": user_token(world, role), "next": "/"})
        yield made


def test_the_list_shows_what_goes_on_first(world: World, browser: httpx.Client) -> None:
    rows = browser.get("/tasks").text.split("<tbody>")[1].split("</tr>")
    assert "mnist" in rows[0]
    assert "1 of 3" in rows[0]
    assert "2 of 2" in rows[0]  # devices that are online
    assert "aside" in rows[1]
    with world.manager.services.db.read() as session:
        lines = task_list.list_lines(session, world.clock(), frozenset({"aside"}))
    assert [(one.name, one.devices, one.latest) for one in lines] == [("aside", 0, None)]


@pytest.mark.parametrize("tab", ["", "code", "clients", "benches", "config", "events"])
def test_every_tab_is_a_page(browser: httpx.Client, tab: str) -> None:
    shown = browser.get(f"/tasks/mnist?tab={tab}")
    assert shown.status_code == 200
    assert 'aria-current="page"' in shown.text
    assert "a secret of mine" not in shown.text


def test_a_device_that_never_called_is_not_lost(world: World) -> None:
    _, device = world.join("quiet")
    device.poll(c.WorkPoll(tasks=["aside"]))
    with world.manager.services.db.read() as session:
        then = world.clock() + 10_000
        found = task_members.read_members(session, "aside", then, None, 10)
    assert [(one.name, one.state) for one in found.shown] == [("quiet", "lost")]
    assert (found.known, found.online) == (1, 0)


def test_an_archived_task_offers_no_run(browser: httpx.Client) -> None:
    browser.post("/tasks/aside/archive")
    shown = browser.get("/tasks/aside").text
    assert "Start a run" not in shown
    assert "Unarchive" in shown
    assert "is archived" in browser.post("/tasks/aside/runs").text
    assert "Start a run" in browser.post("/tasks/aside/unarchive").text


def test_the_last_choice_is_told_with_its_reasons_and_leads_to_the_run(
    browser: httpx.Client,
) -> None:
    shown = browser.get("/tasks/mnist").text.split("Who was chosen for round 2")[1]
    assert "1 of 2 candidates" in shown
    assert "it needs 48 s a round" in shown
    for tab in ("logs", "config", "contribution", "explanations"):
        assert f'href="/runs/1?tab={tab}#tabs"' in shown


def test_the_waves_say_who_runs_what_is_wanted(world: World, browser: httpx.Client) -> None:
    with world.manager.services.db.write() as session:
        _roll_out(session, {"pi": (1, GOOD, "active"), "jetson": (2, OLD, "rolled_back")})
    with world.manager.services.db.read() as session:
        found = wave_standings.read_waves(session, "mnist", world.clock())
        first = delivery_views.first_deployments(session, "mnist", world.clock(), 1)
    told = [(one.wave, one.devices, one.synced, one.failed, one.away) for one in found.waves]
    assert told == [(1, 1, 1, 0, 0), (2, 1, 0, 1, 0)]
    assert [one.device for one in first] == ["jetson"]
    shown = browser.get("/tasks/mnist?tab=code").text
    assert "1 failed" in shown
    assert 'href="/delivery?task=mnist"' in shown


def _roll_out(session: Session, devices: Mapping[str, tuple[int, str, str]]) -> None:
    """Devices as a rollout of the good commit has them: wave, what they run, and how far they are."""
    rollout = RolloutRow(id=1, task="mnist", commit=GOOD, status=RolloutStatus.WAVING, wave=2)
    rollout.status_since = rollout.wave_since = rollout.created_at = 0.0
    rollout.policy = {}
    session.add(rollout)
    session.flush()
    for name, (wave, actual, status) in devices.items():
        device = lookup.require_device(session, name)
        row = DeploymentRow(task="mnist", device_id=device.id, desired=GOOD, rollout=1, wave=wave)
        row.actual, row.status, row.status_since = actual, DeploymentStatus(status), 0.0
        row.report = {}
        session.add(row)


def test_drift_is_told_with_its_threshold(world: World, browser: httpx.Client) -> None:
    drift = {**SCHEDULE, "name": "watch", "kind": "on_drift", "psi": "0.3", "look_seconds": "60"}
    browser.post("/tasks/aside/schedules", data=drift)
    assert "the threshold is 0.300" in browser.get("/tasks/aside").text
    with world.manager.services.db.write() as session:
        device = lookup.require_device(session, "pi")
        session.add(MembershipRow(device_id=device.id, task="aside", since=0.0))
        row = DataRow(task="aside", device_id=device.id, asked_at=0.0, asked_version=-1)
        row.report = c.DataReport(
            fingerprint="f" * 64, examples=100, version=-1, psi=0.45, psi_by_chance=0.05
        ).model_dump(mode="json")
        session.add(row)
    shown = browser.get("/tasks/aside").text
    assert "stability index of the inputs 0.400" in shown
    assert "on 1 device" in shown
    browser.post("/tasks/aside/schedules/watch/remove")


def test_a_description_is_text_and_an_impossible_config_is_refused(browser: httpx.Client) -> None:
    shown = browser.post("/tasks/aside/description", data={"description": MARKUP}).text
    assert MARKUP not in shown
    assert "&lt;b&gt;not bold" in shown
    wrong = browser.post("/tasks/aside/overrides", data={"overrides": "num_rounds=many"})
    assert wrong.status_code == 422
    assert "num_rounds=many</textarea>" in wrong.text
    browser.post("/tasks/aside/overrides", data={"overrides": "num_rounds=7\nrandom_seed=3"})
    assert "num_rounds = 7" in browser.get("/tasks/aside?tab=config").text


def test_a_run_is_forecast_before_it_is_started(world: World, browser: httpx.Client) -> None:
    typed = {"rounds": "5", "begin": "new", "devices": "pi", "what": "forecast"}
    shown = browser.post("/tasks/aside/runs", data=typed)
    assert "5 rounds" in shown.text
    assert 'value="5"' in shown.text
    assert world.operator.task("aside").active_run is None
    wrong = browser.post("/tasks/aside/runs", data={"rounds": "none"})
    assert "no whole number" in wrong.text
    begun = browser.post("/tasks/aside/runs", data={**typed, "what": ""})
    run = world.operator.run(int(re.findall(r"/runs/(\d+)", str(begun.url))[0]))
    assert (run.rounds, run.new_model, run.devices) == (5, True, ["pi"])


def test_a_schedule_is_made_changed_and_removed(world: World, browser: httpx.Client) -> None:
    refused = browser.post("/tasks/mnist/schedules", data={**SCHEDULE, "every": "often"})
    assert "is no number" in refused.text
    assert 'value="often"' in refused.text
    assert "every 6 h" in browser.post("/tasks/mnist/schedules", data=SCHEDULE).text
    assert "already" in browser.post("/tasks/mnist/schedules", data=SCHEDULE).text
    form = browser.get("/tasks/mnist/schedules/nightly").text
    assert 'value="6"' in form
    assert "<option selected>hours" in form
    drift = {**SCHEDULE, "kind": "on_drift", "psi": "0.3", "look_seconds": "60"}
    browser.post("/tasks/mnist/schedules/nightly", data=drift)
    (one,) = world.operator.schedules("mnist")
    assert isinstance(one.trigger, c.OnDrift)
    assert (one.trigger.psi, one.trigger.look_seconds) == (0.3, 60.0)
    browser.post("/tasks/mnist/schedules/nightly/pause", data={"because": "a holiday"})
    assert "a holiday" in browser.get("/tasks/mnist").text
    browser.post("/tasks/mnist/schedules/nightly/resume")
    assert "fires" in browser.post("/tasks/mnist/schedules/nightly/fire").text
    browser.post("/tasks/mnist/schedules/nightly/remove")
    assert world.operator.schedules("mnist") == []


def test_a_task_of_a_repository_is_a_draft_that_says_what_it_waits_for(
    world: World, browser: httpx.Client
) -> None:
    typed = {"name": "fresh", "url": "-x", "poll_seconds": "0", "description": "of the ward"}
    refused = browser.post("/new-task", data=typed)
    assert refused.status_code == 422
    assert "of the ward" in refused.text
    (world.folder / "app").mkdir()
    typed["url"] = str(world.folder / "app")
    made = browser.post("/new-task", data=typed)
    assert str(made.url).endswith("/tasks/fresh?tab=code")
    assert "being read for the first time" in made.text
    assert "What comes next" in made.text
    told = browser.post("/tasks/fresh/source/hook").text
    assert world.manager.services.hook_key.secret("fresh") in told
    assert world.manager.services.hook_key.secret("fresh") not in browser.get("/tasks/fresh").text
    gone = browser.post("/tasks/fresh/source/remove").text
    assert "neither an app nor a source" in gone


def _upload(browser: httpx.Client, name: str, data: bytes) -> httpx.Response:
    typed = {"name": name, "overrides": "num_rounds=9", "description": MARKUP}
    return browser.post("/upload-task", data=typed, files={"app": ("app.zip", data)})


def test_a_zip_file_becomes_a_task_and_what_is_none_is_refused(
    world: World, browser: httpx.Client
) -> None:
    assert 'enctype="multipart/form-data"' in browser.get("/upload-task").text
    for data, why in (
        (b"no zip", "is no readable zip file"),
        (bundle(**{"../evil.py": ""}), "../evil.py"),
        (bundle(**{"pyproject.toml": None}), "has no pyproject.toml"),
    ):
        refused = _upload(browser, "zipped", data)
        assert (refused.status_code, why in refused.text) == (422, True), why
        assert "num_rounds=9</textarea>" in refused.text
        assert MARKUP not in refused.text
    assert (
        "choose the zip file"
        in browser.post("/upload-task", data={"name": "zipped"}, files={"other": ("", b"")}).text
    )
    assert browser.post("/upload-task", data={"name": "zipped"}).status_code == 422
    made = _upload(browser, "zipped", bundle())
    assert str(made.url).endswith("/tasks/zipped")
    assert world.operator.task("zipped").config["num_rounds"] == 9
    again = _upload(browser, "zipped", bundle())
    assert again.status_code == 409  # the name is taken


def test_a_viewer_is_offered_nothing(world: World) -> None:
    with _browser(world, Role.VIEWER) as viewer:
        for where in ("/tasks", "/tasks/mnist", "/tasks/mnist?tab=code"):
            shown = viewer.get(where).text.split("<main")[1]
            assert "data-dialog>" not in shown, where
        assert viewer.post("/tasks/aside/archive").status_code == 403
