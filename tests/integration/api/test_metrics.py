"""What Prometheus reads: who may, what is in it, and that it has an end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from managing import World, managing
from people import user_token

from fedops.core.states import Role

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "metrics.md"
LABELS = {"route", "method", "code", "state", "le"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("metrics"), dashboard=True) as made:
        made.task("mnist")
        made.ready_devices("pi-1", "pi-2")
        _, engine = made.running("mnist")
        made.do_round(engine, 1, "pi-1", "pi-2")
        yield made


def scrape(world: World, token: str | None = None, accept: str = "") -> httpx.Response:
    sent = {"authorization": f"Bearer {token or world.operator_token()}", "accept": accept}
    return httpx.get(f"{world.url}/metrics", headers=sent)


def value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


def test_it_says_how_things_are(world: World) -> None:
    world.join("pi-3")
    text = scrape(world).text
    assert value(text, 'fedops_devices{state="online"}') == 2
    assert value(text, 'fedops_devices{state="offline"}') == 1
    assert value(text, 'fedops_runs{state="running"}') == 1
    assert value(text, "fedops_rounds_committed_total") == 1
    assert value(text, "fedops_round_seconds_sum") == 1.0
    assert value(text, "fedops_received_bytes_total") > 0
    assert value(text, "fedops_database_write_wait_seconds_count") > 0
    commit = 'method="POST",route="/api/v1/engine/rounds/{round}/commit"'
    assert value(text, f'fedops_requests_total{{code="200",{commit}}}') == 1


def test_a_round_that_is_committed_twice_counts_once(tmp_path: Path) -> None:
    with managing(tmp_path) as world:
        world.task("mnist")
        world.ready_devices("pi-1", "pi-2")
        _, engine = world.running("mnist")
        commit = world.do_round(engine, 1, "pi-1", "pi-2")
        engine.commit(commit)
        assert value(scrape(world).text, "fedops_rounds_committed_total") == 1


def test_labels_have_an_end(world: World) -> None:
    for path in ("runs/1", "runs/2", "devices/pi-1", "devices/nobody", "x/y/z"):
        httpx.get(f"{world.url}/api/v1/{path}?q=secret")
    httpx.request("BREW", f"{world.url}/tea")
    text = scrape(world).text
    assert {name for name in re.findall(r'(\w+)="', text)} <= LABELS
    assert not re.search(r"pi-1|nobody|secret|tea|BREW|runs/\d", text)
    assert 'route="other"' in text


def test_the_reference_names_all_with_their_types(world: World) -> None:
    given = dict(re.findall(r"^# TYPE (\S+) (\S+)$", scrape(world).text, re.MULTILINE))
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", REFERENCE.read_text(), re.MULTILINE)
    assert dict(rows) == given


def test_who_may_read_it(world: World, tmp_path: Path) -> None:
    assert httpx.get(f"{world.url}/metrics", follow_redirects=False).status_code == 401
    for role in Role:
        assert scrape(world, user_token(world, role)).status_code == 200
    limited = user_token(world, Role.VIEWER, ["mnist"])
    assert scrape(world, limited).status_code == 403
    with managing(tmp_path, metrics_open=True) as other:
        assert httpx.get(f"{other.url}/metrics").status_code == 200


def test_its_form_is_what_was_asked_for(world: World) -> None:
    plain, modern = (
        scrape(world),
        scrape(world, accept="application/openmetrics-text;version=1.0.0"),
    )
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")


def test_it_is_quick(world: World) -> None:
    scrape(world)
    measures, times = world.manager.services.measures, []
    for _ in range(5):
        began = time.perf_counter()
        measures.page("")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05
