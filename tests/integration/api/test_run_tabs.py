"""Pages of runs, as a browser without scripts sees them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from managing import World, managing
from people import user_token

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.runs import learning
from fedops.server.telemetry import log_store

ROUNDS = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("pages"), dashboard=True) as made:
        made.task()
        made.task("chest")
        made.ready_devices("pi", "jetson")
        _, engine = made.running("mnist", "learning_rate=0.1", f"num_rounds={ROUNDS}")
        for number in range(1, ROUNDS + 1):
            made.do_round(engine, number, "pi", "jetson")
        lines = [
            c.EngineLog(id=f"log-{number:08}", text=f"line {number} <b>of</b> many", round=1)
            for number in range(250)
        ]
        for begin in (0, 200):
            engine.logs(c.EngineLogs(entries=lines[begin : begin + 200]))
        made.operator.stop_run(1)
        made.running("chest", "learning_rate=0.2")
        yield made


@contextmanager
def _browser(world: World, secret: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, follow_redirects=True) as made:
        made.post("/sign-in", data={"secret": secret, "next": "/"})
        yield made


@pytest.fixture(scope="module")
def browser(world: World) -> Iterator[httpx.Client]:
    with _browser(world, user_token(world, Role.VIEWER)) as made:
        yield made


def _chart(page: str, name: str) -> Any:
    found = re.search(f'<script type="application/json" id="{name}">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_a_run_shows_how_it_learns(browser: httpx.Client) -> None:
    page = browser.get("/runs/1").text
    chart = _chart(page, "learning-chart")
    assert chart["x"]["values"] == [1, 2, 3]
    assert chart["series"][0]["values"] == [0.1, 0.2, 0.3]
    assert "<polyline" in page  # for those without scripts
    loss = browser.get("/runs/1?metric=loss&x=time").text
    assert _chart(loss, "learning-chart")["x"]["time"] is True
    assert 'href="/runs/1?metric=loss"' in html.unescape(loss)


def test_the_clients_are_a_band_or_a_line_each(browser: httpx.Client) -> None:
    chart = _chart(browser.get("/runs/1?metric=train_loss").text, "learning-chart")
    assert chart["series"][0]["band"]["low"] == [0.25] * ROUNDS
    chart = _chart(browser.get("/runs/1?metric=train_loss&clients=1").text, "learning-chart")
    assert [one["name"] for one in chart["series"]] == ["global", "jetson", "pi"]


@pytest.mark.parametrize(
    ("tab", "said"),
    [
        ("events", "run.stopping"),
        ("logs", "&lt;b&gt;of&lt;/b&gt;"),
        ("selection", "No round has chosen devices yet"),
        ("contribution", "No round is scored yet"),
        ("config", "learning_rate = 0.1"),
        ("explanations", "No device has sent explanations"),
        ("versions", "/tasks/mnist/models/V0"),
    ],
)
def test_each_tab_has_an_address(browser: httpx.Client, tab: str, said: str) -> None:
    answer = browser.get(f"/runs/1?tab={tab}")
    assert answer.status_code == 200
    assert said in answer.text
    assert "a secret of mine" not in answer.text
    assert re.search(rf'tab={tab}#tabs" aria-current="page"', html.unescape(answer.text))


def test_logs_are_filtered_and_paged(browser: httpx.Client) -> None:
    def shown(**query: str) -> list[str]:
        page = browser.get("/runs/1", params={"tab": "logs", **query}).text
        return re.findall(r"<pre>line (\d+) ", page)

    newest = shown()
    assert (newest[0], newest[-1], len(newest)) == ("50", "249", 200)
    page = html.unescape(browser.get("/runs/1?tab=logs").text)
    before = re.search(r"before=(\d+)", page)
    assert before is not None
    assert shown(before=before[1]) == [str(number) for number in range(50)]
    assert shown(text="LINE 249") == ["249"]
    assert shown(source="client_manager") == []
    assert "no device" in browser.get("/runs/1?tab=logs&device=nobody").text


def test_runs_are_compared(world: World, browser: httpx.Client) -> None:
    page = browser.get("/runs/compare?runs=1,2,99").text
    assert _chart(page, "compare-chart")["series"][0]["name"] == "run 1"
    assert re.search(r"<code>learning_rate</code>.*?0\.1.*?0\.2", page, re.DOTALL)
    assert "there is no run 99" in page
    with _browser(world, user_token(world, Role.VIEWER, ["chest"])) as limited:
        hidden = limited.get("/runs/compare?runs=1,2").text
        assert "there is no run 1" in hidden
        assert "mnist" not in hidden


def test_runs_are_listed_by_task_and_state(browser: httpx.Client) -> None:
    assert 'href="/runs/2"' in browser.get("/runs").text
    assert 'href="/runs/2"' not in browser.get("/runs?task=mnist").text
    assert "No run fits" in browser.get("/runs?status=failed").text
    answer = browser.get("/runs?task=nothing")
    assert answer.status_code == 200
    assert "nothing" in answer.text


def test_of_many_clients_no_single_numbers_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "MOST_VALUES", 3)
    with world.manager.services.db.read() as session:
        assert learning.client_values(session, 1, "train_loss") is None


def test_lines_are_looked_for_in_some_entries_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "LOOKED_THROUGH", 10)
    sought, seen = log_store.Sought(text="LINE 23"), []
    with world.manager.services.db.read() as session:
        found = log_store.newest_run_logs(session, 1, sought, 200)
        assert found.entries == []
        while found.older is not None:
            found = log_store.newest_run_logs(session, 1, sought, 200, found.older)
            seen += [entry.text.split()[1] for entry in reversed(found.entries)]
    assert seen == [*(str(number) for number in range(239, 229, -1)), "23"]
