"""Pages in headless Chromium, as a person opens them, and what its console says against them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Watch:
    """What a page said and asked for."""

    console: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def problems(self) -> list[str]:
        """What no page may say: violations of the content policy, and errors of scripts."""
        return [line for line in self.console if "Security Policy" in line or "Error" in line]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(
    browser: Browser, size: dict[str, int] | None = None, dark: bool = False
) -> tuple[Page, Watch]:
    """A tab of its own, with its own cookies, and what it says."""
    context = browser.new_context(
        viewport=size or DESKTOP,  # type: ignore[arg-type]
        color_scheme="dark" if dark else "light",
    )
    page, watch = context.new_page(), Watch()
    page.set_default_timeout(20_000)
    page.on("console", lambda message: watch.console.append(message.text))
    page.on("pageerror", lambda error: watch.console.append(f"Error: {error}"))
    page.on("request", lambda request: watch.hosts.add(urlsplit(request.url).netloc))
    return page, watch


def sign_in(page: Page, url: str, secret: str, then: str = "/") -> None:
    """Sign in with a token, and go to a page."""
    page.goto(f"{url}/sign-in?next={then}")
    page.fill("[name=secret]", secret)
    page.click("#with-secret button")
    page.wait_for_url(f"{url}{then}")


def scrolls_sideways(page: Page) -> bool:
    """Whether the page is wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def picture(page: Page, file: Path) -> None:
    """What the window shows."""
    page.screenshot(path=str(file))
