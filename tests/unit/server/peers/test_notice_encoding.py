"""Notices as short texts: what is said, how it is divided, what cannot be said."""

from __future__ import annotations

import pytest

from fedops.core.contracts import Delivery
from fedops.core.states import AssignmentStatus
from fedops.server.events import notifications as n
from fedops.server.peers import notice_encoding


def _work(id_: str) -> n.OpenWork:
    return n.OpenWork(
        id=id_,
        device_id="d",
        kind="train",
        task="t",
        run_id=1,
        attempt=1,
        round=1,
        retry=0,
        group_id="1",
        work_key="k",
        instruction="i",
        model=None,
        encodings=("none",),
        max_bytes=None,
        deadline_at=1.0,
        upload_grace=30.0,
    )


def _heard(*notices: n.Notice) -> list[tuple[str, list[object]]]:
    texts = notice_encoding.pack("me", notices)
    assert all(len(text.encode()) <= notice_encoding.MOST_BYTES for text in texts)
    found = [notice_encoding.unpack("another", text) for text in texts]
    return [(heard.kind, heard.items) for heard in found if heard]


def test_ids_are_said_and_contents_are_not() -> None:
    delivery = Delivery(
        id="a1",
        device="ada",
        kind="train",
        round=1,
        retry=0,
        status=AssignmentStatus.UPLOADED,
        inline="c2VjcmV0",
    )
    said = _heard(
        n.WorkOver("a1", "d"),
        n.WorkForEngine(7, delivery),
        n.WorkOver("a2", "d", "paused", checkpoint=True),
        n.WorkOver("a3", "d", "stopped"),
        n.WorkOffered((_work("a4"), _work("a5"))),
        n.DeviceGone("d", "ada", (3,), "offline, no call for 9 s"),
    )
    assert said == [
        (notice_encoding.OVER, ["a1", "a3"]),
        (notice_encoding.ENGINE, [[7, "a1"]]),
        (notice_encoding.OVER_SAVED, ["a2"]),
        (notice_encoding.OFFERED, ["a4", "a5"]),
        (notice_encoding.GONE, [["d", "ada", [3], "offline, no call for 9 s"]]),
    ]


def test_what_concerns_the_own_engine_alone_is_not_said() -> None:
    assert notice_encoding.pack("me", [n.AttemptHello(1, 1)]) == []


def test_many_are_divided_and_too_many_are_everything() -> None:
    works = tuple(_work(f"{number:032x}") for number in range(1_000))
    said = _heard(n.WorkOffered(works))
    assert 2 < len(said) < 10
    assert [id_ for _, items in said for id_ in items] == [work.id for work in works]
    many = tuple(f"{number:032x}" for number in range(60_000))
    assert _heard(n.WorkReleased(many)) == [(notice_encoding.ALL, [])]


def test_what_is_too_long_is_everything() -> None:
    assert _heard(n.DeviceGone("d", "ada", (), "ö" * 2_000)) == [(notice_encoding.ALL, [])]


@pytest.mark.parametrize("text", ["", "no json", "7", '["me","over"]', "[]"])
def test_what_is_none_of_ours_is_everything(text: str) -> None:
    assert notice_encoding.unpack("me", text) == notice_encoding.Heard(notice_encoding.ALL, [])


def test_the_own_words_are_not_heard() -> None:
    assert notice_encoding.unpack("me", notice_encoding.say("me", notice_encoding.LEAD)) is None
