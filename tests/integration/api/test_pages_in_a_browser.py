"""The pages as a real browser shows them: signing in, what is seen, and the end of a session."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from browsing import CHROMIUM, Watch, chromium, open_page, sign_in
from managing import World
from people import user_token
from playwright.sync_api import Page, expect

from fedops.core import contracts as c
from fedops.core.states import Role

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def busy(served: World) -> World:
    """The server, with two tasks, and a user who is to see one of them."""
    for task, device in (("mnist", "pi"), ("digits", "jetson")):
        served.task(task)
        served.ready_devices(device, task=task)
        served.running(task)
    body = c.UserCreate(name="ben", role=Role.VIEWER, tasks=["mnist"], password=PASSWORD)
    served.operator.add_user(body)
    return served


@pytest.fixture
def opened() -> Iterator[tuple[Page, Watch]]:
    with chromium() as browser:
        yield open_page(browser)


@pytest.fixture
def page(opened: tuple[Page, Watch]) -> Page:
    return opened[0]


def _sign_in(page: Page, user: str, password: str) -> None:
    page.fill("[name=user]", user)
    page.fill("[name=password]", password)
    page.click("form:first-of-type button")


def test_a_user_signs_in_sees_their_tasks_and_signs_out(
    busy: World, opened: tuple[Page, Watch]
) -> None:
    page, watch = opened
    page.goto(busy.url)
    page.wait_for_url("**/sign-in")
    _sign_in(page, "ben", "a wrong password")
    expect(page.locator(".problem")).to_contain_text("does not sign anybody in")
    _sign_in(page, "ben", PASSWORD)
    expect(page.get_by_text("1 of 1 devices online")).to_be_visible()
    expect(page.get_by_text("viewer")).to_be_visible()
    expect(page.get_by_text("run 1").first).to_be_visible()
    text = page.inner_text("body")
    assert "digits" not in text
    assert "jetson" not in text
    assert not watch.problems()
    assert {urlsplit(busy.url).netloc} == watch.hosts
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")
    page.goto(busy.url)
    page.wait_for_url("**/sign-in")


def test_a_link_with_a_code_signs_in_once_until_it_is_revoked(busy: World, page: Page) -> None:
    link = f"{busy.url}/sign-in#{busy.operator.sign_in_code().code}"
    page.goto(link)
    expect(page.get_by_text("2 of 2 devices online")).to_be_visible()
    assert "#" not in page.url
    for token in busy.operator.user_tokens():
        if token.kind == "session":
            busy.operator.revoke_user_token(token.id)
    page.wait_for_url("**/sign-in")
    page.goto(link)
    expect(page.locator(".problem")).to_contain_text("does not sign anybody in")


def test_a_page_is_live_keeps_its_place_and_acts(busy: World, opened: tuple[Page, Watch]) -> None:
    page, watch = opened
    sign_in(page, busy.url, user_token(busy, Role.OPERATOR), "/runs/1")
    before = page.evaluate("window.mark = 1")
    page.get_by_role("link", name="Stop run 1").focus()
    page.keyboard.press("Enter")
    box = page.locator("dialog")
    expect(box).to_contain_text("rounds are committed and stay")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    busy.operator.pause_run(1)
    expect(page.locator("#panel-head")).to_contain_text("pausing")
    assert page.evaluate("window.mark") == before  # nothing was loaded again
    page.get_by_role("link", name="Stop run 1").click()
    box.get_by_role("button", name="Stop run 1").click()
    expect(page.get_by_text("Run 1 is being stopped.")).to_be_visible()
    assert not watch.problems()


def test_eight_tabs_are_live_and_what_was_typed_outlasts_the_session(
    busy: World, opened: tuple[Page, Watch]
) -> None:
    page, _ = opened
    sign_in(page, busy.url, user_token(busy, Role.OPERATOR), "/tasks/digits")
    tabs = [page, *(page.context.new_page() for _ in range(7))]
    for tab in tabs:
        tab.goto(f"{busy.url}/tasks/digits")
    busy.operator.update_task("digits", c.TaskUpdate(description="seen by all"))
    for tab in tabs:
        expect(tab.locator("#panel-head")).to_contain_text("seen by all", timeout=3_000)
    page.locator("[href='/tasks/digits/description']").click()
    field = page.locator("dialog [name=description]")
    field.fill("typed for a while")
    for disabled in (True, False):  # which ends their sessions
        busy.operator.update_user("the-operator", c.UserUpdate(disabled=disabled))
    expect(tabs[1]).to_have_url(f"{busy.url}/sign-in?next=/tasks/digits")
    sends = page.locator("dialog button.primary")
    sends.click()
    expect(page.locator("dialog .problem")).to_contain_text("Sign in in another tab")
    expect(field).to_have_value("typed for a while")
    sign_in(tabs[1], busy.url, user_token(busy, Role.OPERATOR), "/tasks/digits")
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    sends.dblclick()
    expect(page.locator("#panel-head")).to_contain_text("typed for a while")
    assert len(sent) == 1
