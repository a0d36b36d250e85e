"""The link: which desired state counts, what is said of reachability, how records are delivered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedops.api_client import DeviceClient
from fedops.client.link import Link
from fedops.client.spool import Spool
from fedops.core.contracts import Desired, Heartbeat, RecordKind
from fedops.core.errors import FedOpsError


class Server:
    """Answers requests from a list of what to say."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.seen: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        import json

        self.seen.append(json.loads(request.content) if request.content else {})
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            body = {
                "kind": "invalid" if answer == 422 else "forbidden",
                "error": "E",
                "message": "m",
            }
            return httpx.Response(answer, json=body if answer < 500 else None)
        return httpx.Response(200, json=answer)


def desired(revision: int, **more: Any) -> dict[str, Any]:
    return {"revision": revision, "enrolment": "approved", **more}


class Bench:
    def __init__(self, path: Path) -> None:
        self.server = Server()
        client = DeviceClient("http://s", token="t", transport=httpx.MockTransport(self.server))
        self.spool = Spool(path / "spool.db", 1 << 20)
        self.heard: list[int] = []
        self.refused: list[FedOpsError] = []
        self.link = Link(client, self.spool, Heartbeat, self.take, self.refused.append)

    def take(self, wish: Desired) -> None:
        self.heard.append(wish.revision)

    def beat(self, answer: Any) -> bool:
        self.server.answers.append(answer)
        return self.link._say_how_we_are()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.spool.close()


def wish(revision: int) -> Desired:
    return Desired.model_validate(desired(revision))


def test_an_older_state_that_comes_late_does_not_count(bench: Bench) -> None:
    bench.beat(desired(5))
    bench.link._apply(wish(7), None)
    bench.link._apply(wish(6), None)  # a long poll that was answered long ago
    assert bench.heard == [5, 7]
    assert bench.link.desired is not None
    assert bench.link.desired.revision == 7


def test_a_heartbeat_asked_before_the_last_word_does_not_count_if_older(bench: Bench) -> None:
    bench.link._apply(wish(7), None)
    bench.link._apply(wish(6), bench.link._applied_at - 1.0)
    assert bench.heard == [7]


def test_a_server_that_counts_anew_is_believed(bench: Bench) -> None:
    bench.beat(desired(1_000))
    bench.beat(desired(1))
    assert bench.heard == [1_000, 1]


def test_reachability_is_said_once_per_change(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for answer in (503, 503, 503, desired(1), desired(1), 503):
        bench.beat(answer)
    said = ["reachable" in r.message for r in caplog.records if r.name == "fedops.client"]
    assert said == [False, True, False]
    assert bench.link.reach.reachable is False
    assert bench.refused == []


def test_the_clock_offset_comes_from_the_server(bench: Bench) -> None:
    import time

    bench.beat(desired(1, server_time=time.time() + 5_000))
    assert bench.link.clock_offset == pytest.approx(5_000, abs=1.0)


def test_a_refusal_is_passed_on_and_is_no_outage(bench: Bench) -> None:
    bench.beat(desired(1))
    bench.beat(403)
    assert [e.kind for e in bench.refused] == ["forbidden"]
    assert bench.link.reach.reachable


def test_records_are_forgotten_only_once_the_server_has_them(bench: Bench) -> None:
    for name in ("a", "b"):
        bench.spool.put(RecordKind.EVENT, name)
    bench.server.answers = [503]
    with pytest.raises(FedOpsError):
        bench.link.send_batch()
    assert bench.spool.count == 2
    bench.server.answers = [{"accepted": 2, "duplicates": 0}]
    bench.link.send_batch()
    assert bench.spool.count == 0
    first, second = (body["records"] for body in bench.server.seen)
    assert [r["id"] for r in first] == [r["id"] for r in second]
    bench.link.send_batch()  # nothing to send: no call
    assert len(bench.server.seen) == 2


def test_one_record_that_cannot_be_taken_does_not_hold_up_the_others(bench: Bench) -> None:
    for name in ("good", "bad", "fine"):
        bench.spool.put(RecordKind.EVENT, name)
    taken = {"accepted": 1, "duplicates": 0}
    bench.server.answers = [422, taken, 422, taken]
    bench.link.send_batch()
    assert bench.spool.count == 0
    assert [len(body["records"]) for body in bench.server.seen] == [3, 1, 1, 1]


def test_what_the_server_refuses_for_good_is_not_sent_again(bench: Bench) -> None:
    bench.spool.put(RecordKind.EVENT, "e")
    bench.server.answers = [{"accepted": 0, "duplicates": 0, "refused": ["e: no such run"]}]
    bench.link.send_batch()
    assert bench.spool.count == 0
