"""A run's curve in Chromium: drawn, told of by a hover, grown by a round, in the colours of the theme."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import CHROMIUM, chromium, open_page, scrolls_sideways, sign_in
from managing import World, managing
from people import user_token
from playwright.sync_api import Page

from fedops.core.states import Role

_OPTION = "() => [...fedops.charts.values()][0].chart.getOption()"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("charts"), dashboard=True) as made:
        made.task()
        made.ready_devices("pi", "jetson")
        yield made


def _option(page: Page) -> Any:
    return page.evaluate(_OPTION)


def _line(page: Page) -> Any:
    return next(one for one in _option(page)["series"] if one["type"] == "line")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_curve_is_drawn_grows_and_follows_the_theme(world: World) -> None:
    _, engine = world.running("mnist", "num_rounds=9")
    for number in (1, 2, 3):
        world.do_round(engine, number, "pi", "jetson")
    with chromium() as browser:
        page, watch = open_page(browser)
        sign_in(page, world.url, user_token(world, Role.VIEWER), "/runs/1")
        page.wait_for_function("() => fedops.charts && fedops.charts.size === 1")
        assert [point[0] for point in _line(page)["data"]] == [1, 2, 3]
        assert "axis from 10 %" in _option(page)["yAxis"][0]["name"]
        box = page.locator(".chart").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(200)
        light = _line(page)["color"]
        page.click("[data-theme-form] button")
        assert _line(page)["color"] != light
        world.do_round(engine, 4, "pi", "jetson")
        page.wait_for_function(f"() => ({_OPTION})().series.some((one) => one.data.length === 4)")
        assert not scrolls_sideways(page)
        assert watch.problems() == []
        assert watch.hosts == {world.url.removeprefix("http://")}
