"""One stream for the rounds and for what is no round's: nothing of either gets lost."""

from __future__ import annotations

import pytest

from fedops.core import contracts as c
from fedops.core.states import AssignmentStatus
from fedops.engine.link.deliveries import DeliveryStream
from fedops.engine.link.exit_reasons import StopRequested
from fedops.engine.link.server_link import ServerLink


def delivery(number: int, kind: str = "train") -> c.Delivery:
    done = AssignmentStatus.UPLOADED
    return c.Delivery(id=f"{number:032x}", device="a", kind=kind, round=1, status=done)


class FakeApi:
    """Gives out what is there, from a position on."""

    def __init__(self, *entries: c.Delivery | c.DevicePresence) -> None:
        self.entries = list(entries)
        self.waits: list[float] = []
        self.checked: list[str] = []
        self.command = "continue"

    def collect(self, body: c.CollectRequest) -> c.Collected:
        self.waits.append(body.wait)
        self.checked += body.checked
        fresh = self.entries[body.after :]
        return c.Collected(
            sequence=len(self.entries),
            deliveries=[one for one in fresh if isinstance(one, c.Delivery)],
            presence=[one for one in fresh if isinstance(one, c.DevicePresence)],
            command=self.command,  # type: ignore[arg-type]
        )

    def progress(self, body: c.EngineProgress) -> None:
        """Nobody listens."""


def stream_of(api: FakeApi) -> tuple[DeliveryStream, list[str]]:
    stream, aside = DeliveryStream(ServerLink(api)), []  # type: ignore[arg-type]

    def take(one: c.Delivery) -> bool:
        if one.kind == "train":
            return False
        aside.append(one.id)
        return True

    stream.aside = take
    return stream, aside


def test_what_is_no_rounds_is_taken_aside_whoever_collects() -> None:
    api = FakeApi(delivery(1), delivery(2, "evaluate.coalition_0"), delivery(3))
    stream, aside = stream_of(api)
    assert [int(one.id, 16) for one in stream.next(1.0).deliveries] == [1, 3]
    assert [int(id_, 16) for id_ in aside] == [2]


def test_who_listens_leaves_the_rounds_deliveries_to_the_round() -> None:
    gone = c.DevicePresence(device="b", gone="offline")
    api = FakeApi(delivery(1), delivery(2, "evaluate.coalition_0"), gone)
    stream, aside = stream_of(api)
    stream.listen(0.2)
    assert len(aside) == 1
    api.entries += [delivery(3), delivery(4, "evaluate.coalition_1")]
    stream.listen(0.2)
    api.entries.append(delivery(5))
    found = stream.next(7.0)
    assert [int(one.id, 16) for one in found.deliveries] == [1, 3, 5]
    assert found.presence == [gone]
    assert len(aside) == 2
    assert api.waits == [0.2, 0.2, 0.0]  # there was something already
    assert stream.next(7.0).deliveries == []
    assert api.waits[-1] == 7.0


def test_verdicts_are_handed_in_by_who_calls_next_whoever_that_is() -> None:
    stream, _ = stream_of(api := FakeApi())
    stream.accept("a" * 32)
    stream.listen(0.0)
    stream.next(0.0)
    assert api.checked == ["a" * 32]


def test_who_listens_hears_that_the_run_is_to_stop() -> None:
    api = FakeApi(delivery(1, "evaluate.coalition_0"))
    api.command = "stop"
    stream, aside = stream_of(api)
    with pytest.raises(StopRequested):
        stream.listen(0.0)
    assert len(aside) == 1
