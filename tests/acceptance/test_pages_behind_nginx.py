"""Open pages behind nginx and two Server Managers: live and complete while either is killed, or frozen."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from federating import QUIET
from nginx import PROGRAM, nginx
from playwright.sync_api import Page, sync_playwright
from postgres import fresh_database
from test_two_managers import Two

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.demo.federation import free_port

POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(POSTGRES is None, reason="FEDOPS_TEST_POSTGRES names no server"),
    pytest.mark.skipif(PROGRAM is None or CHROMIUM is None, reason="needs nginx and Chromium"),
]
PAGES = ("/", "/devices", "/events", "/tokens")
STALE = "document.body.classList.contains('stale')"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    assert POSTGRES
    ports = {"server": free_port(), "second": free_port()}
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(POSTGRES, f"acceptance_{uuid.uuid4().hex}"))
        (tmp_path / "homes").mkdir()
        made = Two(tmp_path / "homes", {**QUIET, "FEDOPS_DATABASE_URL": url}, 0)
        stack.enter_context(made)
        made.ports, made.database_url = ports, url
        made.start()
        yield made


@contextmanager
def things_happen(two: Two) -> Iterator[None]:
    """Some events a second, at whichever of the two answers."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.2):
            for name in two.ports:
                try:
                    with two.operator_of(name) as operator:
                        operator.create_token(c.TokenCreate())
                    break
                except FedOpsError:  # the other is asked
                    continue

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def open_pages(url: str, token: str) -> Iterator[list[Page]]:
    """The pages, each in a tab of one browser that is signed in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tabs = browser.new_context(ignore_https_errors=True)
        first = tabs.new_page()
        first.goto(f"{url}/sign-in")
        first.fill("[name=secret]", token)
        first.click("#with-secret button")
        first.wait_for_url(f"{url}/")
        pages = [first, *(tabs.new_page() for _ in PAGES[1:])]
        for page, where in zip(pages, PAGES, strict=True):
            page.goto(url + where)
            page.evaluate("window.mark = 1")
        yield pages
        browser.close()


def is_live(page: Page) -> bool:
    return not page.evaluate(STALE)


def until(page: Page, check: Callable[[], bool], seconds: float = 30.0) -> None:
    """While it is waited for, the page goes on."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        page.wait_for_timeout(100)


def test_pages_miss_nothing_while_either_is_killed_frozen_or_both_are_away(
    two: Two, tmp_path: Path
) -> None:
    one, other = two.ports
    token = (two.home / one / "admin-token").read_text().strip()
    before = (two.ports[one], [two.ports[other]])
    with (
        nginx(tmp_path / "nginx", before[0], tmp_path, more_servers=before[1]) as proxy,
        open_pages(proxy.url, token) as pages,
    ):
        begins = [int(page.evaluate("document.body.dataset.seq")) for page in pages]
        with things_happen(two):
            for name in (one, other):
                two.kill(name)
                wait_for_all(pages, 3.0)
                start_again(two, name)
                frozen(two, name, pages)
            for name in two.ports:
                two.kill(name)
            until(pages[0], lambda: not is_live(pages[0]))
            assert "last heard" in pages[0].inner_text("[data-stale]")
            for name in two.ports:
                start_again(two, name)
            wait_for_all(pages, 1.0)
        with OperatorClient(f"http://127.0.0.1:{two.ports[one]}", token=token) as operator:
            ids = {event.id for event in operator.events()}
        for page, begin in zip(pages, begins, strict=True):
            wanted = {id_ for id_ in ids if id_ > begin}
            until(page, partial(misses_nothing, page, wanted))
            assert seen(page) == wanted, page.url
            assert page.evaluate("window.mark") == 1, "nobody loaded it again"


def seen(page: Page) -> set[int]:
    return set(page.evaluate("fedops.seen"))


def misses_nothing(page: Page, wanted: set[int]) -> bool:
    return seen(page) >= wanted


def wait_for_all(pages: list[Page], seconds: float) -> None:
    """Let so much time pass; then all are live, or become so."""
    pages[0].wait_for_timeout(seconds * 1_000)
    until(pages[0], lambda: all(map(is_live, pages)))


def start_again(two: Two, name: str) -> None:
    two.stop(name)
    two.start_manager(name)
    two.until(f"{name} to answer", lambda: two.answers(name))


def frozen(two: Two, name: str, pages: list[Page]) -> None:
    """A server that hears nothing and closes nothing: its pages go to the other one."""
    process = two.parts[name].root()
    assert process is not None
    process.suspend()
    try:
        wait_for_all(pages, 5.0)
    finally:
        process.resume()
