"""Every page in a browser, light on a desk and dark on a phone: no barrier, no error, no other host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from browsing import CHROMIUM, DESKTOP, PHONE, chromium, open_page, scrolls_sideways, sign_in
from managing import World, managing
from people import user_token
from playwright.sync_api import Browser, Page

from fedops.core import contracts as c
from fedops.core.states import ChannelKind, Role
from fedops.server.dashboard.mounting import FORMS, PAGES

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
NAMES = {
    "run_id": "1",
    "task": "mnist",
    "device": "a-device-with-quite-a-long-name-in-radiology",
    "version": "V0",
    "channel": "ops",
}
MARKUP = "<b onmouseover=alert(1)>not bold</b>"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("everybody"), dashboard=True) as made:
        made.task("mnist")
        made.task("described")
        made.operator.update_task("described", c.TaskUpdate(description=MARKUP))
        made.ready_devices("pi", NAMES["device"])
        made.join("leaving")
        made.running("mnist")
        channel = c.ChannelCreate(name="ops", kind=ChannelKind.WEBHOOK, url="http://127.0.0.1:9/")
        made.operator.add_channel(channel)
        made.operator.test_channel("ops")
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def addresses() -> list[str]:
    """All pages, and all forms that can be shown here."""
    paths = [page.path for page in PAGES] + [form.path for form in FORMS]
    return sorted(path.format(**NAMES) for path in paths if _is_filled(path))


def _is_filled(path: str) -> bool:
    return all(part[1:-1] in NAMES for part in path.split("/") if part.startswith("{"))


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desk", "phone"])
def test_every_page_is_for_everybody(
    world: World, browser: Browser, size: dict[str, int], dark: bool
) -> None:
    page, watch = open_page(browser, size, dark)
    page.goto(f"{world.url}/sign-in")
    found = {"/sign-in": barriers(page)}
    sign_in(page, world.url, user_token(world, Role.ADMIN))
    for where in addresses():
        answer = page.goto(f"{world.url}{where}")
        assert answer is not None
        assert answer.status == 200, where
        found[where] = barriers(page)
        if scrolls_sideways(page):
            found[where].append("scrolls sideways")
        assert page.locator("main b").count() == 0, where  # what looks like markup is text
    assert {where: wrong for where, wrong in found.items() if wrong} == {}
    assert watch.problems() == []
    assert watch.hosts == {urlsplit(world.url).netloc}
    page.context.close()


def barriers(page: Page) -> list[str]:
    """What axe calls serious or critical."""
    page.evaluate(AXE + ";0")
    outcome = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]}"
        for one in outcome["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_every_page_works_without_scripts(world: World, browser: Browser) -> None:
    """Its links lead somewhere, and a form does what it says."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{world.url}/sign-in?next=/devices/leaving")
    page.fill("[name=secret]", user_token(world, Role.ADMIN))
    page.click("#with-secret button")
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name=re.compile("^Revoke")).click()
    assert urlsplit(page.url).path == "/devices/leaving"
    assert "revoked" in page.inner_text("main")
    for where in addresses():
        page.goto(f"{world.url}{where}")
        links = page.locator("main a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        assert all((link or "").startswith("/") for link in links), where
    context.close()
