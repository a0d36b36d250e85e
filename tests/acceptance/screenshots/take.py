"""Pictures of every page with real data, light and dark, at 1280 and 390 px, into ``docs/images``.

make screenshots                      all of them, within twelve minutes
make screenshots ARGS="run device"    those of these pages
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT / "tests" / "helpers"), str(HERE)]

from browsing import (  # noqa: E402
    DESKTOP,
    PHONE,
    chromium,
    open_page,
    picture,
    scrolls_sideways,
    sign_in,
)
from pushing import TASK  # noqa: E402
from scene import SITES, Scene  # noqa: E402

IMAGES = ROOT / "docs" / "images"
#: Charts and pictures are there after this. Seconds.
_SETTLE = 0.7
_TALLEST, _LOWEST = 1_300, 480


def addresses(run: int) -> dict[str, str]:
    """Each page, by the name of its pictures."""
    return {
        "overview": "/",
        "tasks": "/tasks",
        "task": "/tasks/mnist",
        "task-create": "/new-task",
        "runs": "/runs",
        "run": f"/runs/{run}",
        "run-compare": "/runs/compare?runs=1,3",
        "devices": "/devices",
        "device": f"/devices/{SITES[0]}",
        "join": "/join",
        "models": "/models",
        "model": "/tasks/mnist/models/V1",
        "contribution": "/contribution?task=mnist",
        "explanations": "/explanations?run=1",
        "delivery": f"/delivery?task={TASK}",
        "users": "/users",
        "events": "/events",
        "settings": "/settings",
    }


def main(wanted: list[str]) -> int:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fedops-screenshots-") as folder:
        scene = Scene(Path(folder), say)
        with scene.federation as federation:
            scene.build()
            run = scene.run_on()
            say("pictures")
            with chromium() as browser:
                troubles = take_all(browser, federation.url, federation.admin_token, run, wanted)
    for trouble in troubles:
        say(trouble)
    say(f"done: {IMAGES}")
    return 1 if troubles else 0


def take_all(browser: Browser, url: str, token: str, run: int, wanted: list[str]) -> list[str]:
    """All pictures; returns what is wrong with pages."""
    troubles = []
    pages = {n: where for n, where in addresses(run).items() if not wanted or n in wanted}
    for dark in (False, True):
        for size, mark in ((DESKTOP, ""), (PHONE, "-phone")):
            page, watch = open_page(browser, size, dark)
            page.emulate_media(reduced_motion="reduce")  # nothing flashes while it is taken
            theme = "dark" if dark else "light"
            if not wanted or "sign-in" in wanted:
                page.goto(f"{url}/sign-in")
                keep(page, f"sign-in{mark}-{theme}")
            sign_in(page, url, token)
            for name, where in pages.items():
                show(page, f"{url}{where}", full=not mark)
                keep(page, f"{name}{mark}-{theme}")
                if mark and scrolls_sideways(page):
                    troubles.append(f"{name} scrolls sideways on the phone")
            troubles += [f"{theme}{mark}: {line}" for line in watch.problems()]
            page.context.close()
    return troubles


def keep(page: Page, name: str) -> None:
    """What the window shows, as a picture of 256 colours: a third of the size."""
    file = IMAGES / f"{name}.png"
    picture(page, file)
    with Image.open(file) as opened:
        few = _few_colours(opened.convert("RGB"))
    few.save(file, optimize=True)


def _few_colours(whole: Image.Image) -> Image.Image:
    """The most frequent colours as they are, and of the others those that are farthest apart."""
    red, green, blue = np.asarray(whole).astype(np.int32).transpose(2, 0, 1)
    codes = red << 16 | green << 8 | blue
    known, places, many = np.unique(codes, return_inverse=True, return_counts=True)
    colours = np.stack([known >> 16, known >> 8 & 255, known & 255], axis=1)
    apart = whole.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    others = np.array(apart.getpalette()[:384], np.int32).reshape(-1, 3)
    palette = np.concatenate([colours[np.argsort(-many)[:128]], others])
    nearest = [int(np.abs(palette - one).sum(axis=1).argmin()) for one in colours]
    made = Image.fromarray(np.array(nearest, np.uint8)[places.reshape(codes.shape)])
    made = made.convert("L")
    made.putpalette(palette.astype(np.uint8).tobytes())
    return made


def show(page: Page, where: str, full: bool) -> None:
    """Open a page, in a window as tall as it is where that is wanted."""
    if full:
        page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    answer = page.goto(where)
    if answer is not None and answer.status != 200:
        print(f"          {where}: {answer.status}", flush=True)
    page.wait_for_timeout(_SETTLE * 1_000)
    if full:
        height = int(page.evaluate("document.querySelector('main').getBoundingClientRect().bottom"))
        tall = {"width": DESKTOP["width"], "height": min(max(height, _LOWEST), _TALLEST)}
        page.set_viewport_size(tall)  # type: ignore[arg-type]
        page.wait_for_timeout(_SETTLE * 1_000)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
