"""The pages More and Events, as a browser without scripts gets them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from managing import World, managing
from people import user_token

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.dashboard.web import downloads
from fedops.server.events import event_search
from fedops.server.events.event_search import Sought


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server where a run trains."""
    folder: Path = tmp_path_factory.mktemp("events")
    with managing(folder, dashboard=True) as world:
        world.task("mnist")
        world.ready_devices("pi")
        world.task("chest")
        _, engine = world.running("mnist")
        world.do_round(engine, 1, "pi")
        log = ["INFO app: so far\nWARNING app: hot", "Traceback (most recent call last)", "plain"]
        lines = [c.EngineLog(id=f"log-{i:08}", text=text) for i, text in enumerate(log)]
        engine.logs(c.EngineLogs(entries=lines))
        world.clock.advance(3_600)
        world.operator.update_task("chest", c.TaskUpdate(description="=1+1, later"))
        yield world


@pytest.fixture(scope="module")
def operator(world: World) -> Iterator[httpx.Client]:
    """An operator's browser."""
    with httpx.Client(base_url=world.url, follow_redirects=True) as client:
        token = user_token(world, Role.OPERATOR)
        client.post("/sign-in", data={"secret": token, "next": "/more"})
        yield client


def test_more_names_places_that_one_may_see(operator: httpx.Client) -> None:
    text = operator.get("/more").text
    assert 'href="/events"' in text
    assert 'href="/users"' not in text


def test_events_are_filtered_by_what_their_subject_begins_with(operator: httpx.Client) -> None:
    assert "device pi:" in operator.get("/events").text
    only = operator.get("/events", params={"subject": "run "}).text
    assert "run 1:" in only
    assert "device pi:" not in only


def test_events_before_the_first_are_none_and_the_page_says_so(operator: httpx.Client) -> None:
    assert "No event is like this." in operator.get("/events", params={"before": "1"}).text


def test_events_are_filtered_by_task_text_and_time(operator: httpx.Client) -> None:
    only = operator.get("/events", params={"task": "chest"}).text
    assert "task chest:" in only
    assert "run 1:" not in only
    assert "run 1:" in operator.get("/events", params={"task": "mnist"}).text
    assert "round 1" in operator.get("/events", params={"text": "ROUND 1"}).text
    later = {"since": "1970-01-12T14:00", "subject": "task "}
    assert "task chest" in operator.get("/events", params=later).text
    assert "task mnist:" not in operator.get("/events", params=later).text
    before = operator.get("/events", params={"until": "1970-01-12T14:00"}).text
    assert "task mnist:" in before
    assert 'value="1970-01-12T14:00"' in before
    assert "write a time as" in operator.get("/events", params={"since": "noon"}).text


def test_what_is_filtered_is_downloaded(operator: httpx.Client) -> None:
    page = operator.get("/events", params={"task": "chest"}).text
    assert 'href="/events.csv?task=chest"' in page
    answer = operator.get("/events.csv", params={"subject": "task chest"})
    assert "attachment" in answer.headers["content-disposition"]
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header[:5] == ["id", "at", "who", "subject", "event"]
    assert {row[3] for row in rows} == {"task chest"}
    lines = operator.get("/events.jsonl").text.splitlines()
    told = [json.loads(line) for line in lines]
    assert [one["id"] for one in told] == sorted((one["id"] for one in told), reverse=True)
    assert all(one["by_address"] is None for one in told)  # an operator does not audit


def test_pages_of_a_search_leave_nothing_out(world: World) -> None:
    with world.manager.services.db.read() as session:
        every = event_search.search(session, Sought(), limit=1_000).events
        for wanted in (Sought(), Sought(task="mnist"), Sought(since=world.clock() - 10)):
            found, before = [], None
            while True:
                page = event_search.search(session, wanted, before=before, limit=2)
                found += page.events
                before = page.older
                if before is None:
                    break
            whole = event_search.search(session, wanted, limit=1_000).events
            assert [one.id for one in found] == [one.id for one in whole]
        since = [one for one in every if one.at >= world.clock() - 10]
        assert found == since


def test_no_cell_is_a_formula() -> None:
    rows = [["=1+1", "@x", "-2", "+3", "fine", -4.5, None]]
    assert downloads.csv_lines(rows) == "'=1+1,'@x,'-2,'+3,fine,-4.5,\r\n"


def test_rounds_are_exported_and_logs_are_filtered_by_level(operator: httpx.Client) -> None:
    (told,) = operator.get("/runs/1/rounds.json").json()
    assert (told["round"], told["replied"], told["metrics"]["accuracy"]) == (1, 1, 0.1)
    shown = {
        level: operator.get("/runs/1", params={"tab": "logs", "level": level}).text
        for level in ("", "info", "warning", "error", "critical")
    }
    found = {
        level: [w in text for w in ("hot", "Traceback", "plain</pre>")]
        for level, text in shown.items()
    }
    assert found == {
        "": [True, True, True],
        "info": [True, True, False],
        "warning": [True, True, False],
        "error": [False, True, False],
        "critical": [False, False, False],
    }


def test_a_filter_with_markup_is_text(operator: httpx.Client) -> None:
    answer = operator.get("/events", params={"by": "<b>x</b>", "before": "-7"})
    assert answer.status_code == 200
    assert "<b>x</b>" not in answer.text
