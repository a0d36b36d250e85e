"""The lifecycle in a browser, with a real server and real devices: what an operator sees and presses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from browsing import CHROMIUM, chromium, open_page, scrolls_sideways, sign_in
from federating import LIGHT, WITH_LIGHT, enrol
from playwright.sync_api import Browser, Page, expect

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.demo.federation import Federation

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
PASSWORD = "correct horse battery"
SECONDS = 60_000


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def test_from_a_task_to_a_version_in_use(tmp_path: Path, browser: Browser) -> None:
    with Federation(tmp_path, WITH_LIGHT) as federation:
        federation.start_server()
        with federation.operator() as operator:
            body = c.UserCreate(name="vera", role=Role.VIEWER, password=PASSWORD)
            operator.add_user(body)
        page, watch = open_page(browser)
        page.set_default_timeout(SECONDS)
        sign_in(page, federation.url, federation.admin_token, "/tasks")
        expect(page.locator("main")).to_contain_text("There is no task yet")
        federation.create_task("tiny", LIGHT)
        expect(page.get_by_role("link", name="tiny")).to_be_visible()  # nothing was loaded again

        page.get_by_role("link", name="Devices", exact=True).click()
        enrol(federation, ["ada", "bob"], "tiny", app=LIGHT)
        expect(page.locator("main")).to_contain_text("2 of 2 devices online", timeout=SECONDS)

        _start(page, federation, rounds=40)
        _rounds_arrive(page)
        _a_killed_client_is_told(page, federation)
        _stop(page)
        version = _complete(page, federation)
        _promote(page, version)
        assert not watch.problems()
        _viewer(browser, federation)


def _start(page: Page, federation: Federation, rounds: int) -> None:
    page.goto(f"{federation.url}/tasks/tiny")
    page.get_by_role("link", name="Start a run").click()
    box = page.locator("dialog")
    box.get_by_label("Rounds").fill("many")
    box.get_by_role("button", name="Start a run of tiny").click()
    expect(box.get_by_role("alert")).to_contain_text("'many' is no whole number")
    expect(box.get_by_label("Rounds")).to_have_value("many")
    box.get_by_label("Rounds").fill(str(rounds))
    box.get_by_role("button", name="Start a run of tiny").click()
    page.wait_for_url("**/runs/*")


def _rounds_arrive(page: Page) -> None:
    page.evaluate("window.mark = 1")
    expect(page.locator("#panel-rounds")).to_contain_text("2 of 2", timeout=SECONDS)
    drawn = page.locator("#panel-learning :is(canvas, svg)").first
    expect(drawn).to_be_visible(timeout=SECONDS)
    assert page.evaluate("window.mark") == 1
    assert page.evaluate("fedops.seen.length") > 0


def _a_killed_client_is_told(page: Page, federation: Federation) -> None:
    """The training client of one device dies: the page of the device says so, without being loaded again."""
    page.goto(f"{federation.url}/devices/bob")
    with federation.operator() as operator:
        pid = operator.device("bob").process.pid
    assert pid
    psutil.Process(pid).kill()
    expect(page.locator("#panel-head")).to_contain_text("died", timeout=SECONDS)


def _stop(page: Page) -> None:
    page.goto(page.url.split("/devices")[0] + "/runs/1")
    page.get_by_role("link", name="Stop run 1").click()
    page.locator("dialog").get_by_role("button", name="Stop run 1").click()
    expect(page.locator("#panel-head .chip")).to_contain_text("stopped", timeout=SECONDS)


def _complete(page: Page, federation: Federation) -> str:
    federation.until_ready(["ada", "bob"], 60.0)
    _start(page, federation, rounds=2)
    expect(page.locator("#panel-head .chip")).to_contain_text("completed", timeout=SECONDS)
    with federation.operator() as operator:
        return f"V{operator.task('tiny').latest_version}"


def _promote(page: Page, version: str) -> None:
    base = page.url.split("/runs")[0]
    page.goto(f"{base}/models?task=tiny")
    row = page.get_by_role("row").filter(has_text=version)
    row.get_by_role("link", name="Promote").click()
    page.locator("dialog").get_by_role("button", name="Promote").click()
    expect(page.get_by_role("row").filter(has_text=version)).to_contain_text("serving")


def _viewer(browser: Browser, federation: Federation) -> None:
    """A viewer sees all of it and finds no action; on the phone nothing scrolls sideways."""
    page, watch = open_page(browser, {"width": 390, "height": 844}, dark=True)
    page.goto(f"{federation.url}/runs/1")
    page.fill("[name=user]", "vera")
    page.fill("[name=password]", PASSWORD)
    page.click("form:first-of-type button")
    page.wait_for_url("**/runs/1")
    for path in (
        "/",
        "/tasks",
        "/tasks/tiny",
        "/runs",
        "/runs/1",
        "/devices",
        "/devices/bob",
        "/models",
        "/events",
    ):
        page.goto(f"{federation.url}{path}")
        words = page.locator("main").inner_text()
        assert "tiny" in words or "bob" in words or path == "/"
        assert page.locator("main .button[data-dialog], main form[method=post]").count() == 0, path
        assert not scrolls_sideways(page), path
    answer = page.goto(f"{federation.url}/runs/1/stop")
    assert answer is not None
    assert answer.status == 403
    assert not [line for line in watch.problems() if "403" not in line]
