"""The pages More and Events, as a browser without scripts gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from managing import managing
from people import user_token

from fedops.core.states import Role


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """An operator's browser on a server where a run trains."""
    folder: Path = tmp_path_factory.mktemp("events")
    with managing(folder, dashboard=True) as world:
        world.task("mnist")
        world.ready_devices("pi")
        world.running("mnist")
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


def test_a_filter_with_markup_is_text(operator: httpx.Client) -> None:
    answer = operator.get("/events", params={"by": "<b>x</b>", "before": "-7"})
    assert answer.status_code == 200
    assert "<b>x</b>" not in answer.text
