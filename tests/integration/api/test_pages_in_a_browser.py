"""The pages as a real browser shows them: signing in, what is seen, and the end of a session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from managing import World
from playwright.sync_api import Page, expect, sync_playwright

from fedops.core import contracts as c
from fedops.core.states import Role

CHROMIUM = shutil.which("chromium")
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
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.set_default_timeout(20_000)
        yield opened
        browser.close()


def _sign_in(page: Page, user: str, password: str) -> None:
    page.fill("[name=user]", user)
    page.fill("[name=password]", password)
    page.click("form:first-of-type button")


def test_a_user_signs_in_sees_their_tasks_and_signs_out(busy: World, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(busy.url)
    page.wait_for_url("**/sign-in")
    _sign_in(page, "ben", "a wrong password")
    expect(page.locator(".problem")).to_contain_text("does not sign anybody in")
    _sign_in(page, "ben", PASSWORD)
    expect(page.get_by_text("1 of 1 devices online")).to_be_visible()
    expect(page.get_by_text("ben, viewer")).to_be_visible()
    expect(page.get_by_text("Run 1 of mnist").first).to_be_visible()
    text = page.inner_text("body")
    assert "digits" not in text
    assert "jetson" not in text
    assert not [line for line in said if "Content Security Policy" in line]  # its scripts have run
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
