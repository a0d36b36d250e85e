"""What the engine of an attempt collects: in order, once, and again when an answer was lost."""

from __future__ import annotations

import asyncio
import gc
import weakref

from fedops.core.contracts import Delivery
from fedops.core.states import AssignmentStatus as A
from fedops.server.events.notifications import AttemptHello, WorkForEngine
from fedops.server.rounds.attempt_inbox import PAGE_BYTES, AttemptInboxes


def _delivery(number: int, status: A = A.UPLOADED, inline: str | None = None) -> Delivery:
    return Delivery(
        id=f"{number:032x}", device=f"d{number}", kind="train", status=status, inline=inline
    )


def test_what_came_is_given_until_it_is_acknowledged() -> None:
    async def play() -> None:
        inboxes = AttemptInboxes()
        inboxes.deliver(WorkForEngine(1, _delivery(0)))  # nobody collects yet: the rows have it
        inboxes.begin(AttemptHello(7, 1, (_delivery(0),), (("d9", "offline"),)))
        inboxes.deliver(WorkForEngine(1, _delivery(1)))
        inboxes.deliver(WorkForEngine(2, _delivery(2)))  # of another run
        for _ in range(2):
            page = await inboxes.collect(7, 0, 5)
            assert [d.device for d in page.deliveries] == ["d0", "d1"]
            assert [(p.device, p.gone) for p in page.presence] == [("d9", "offline")]
        later = await inboxes.collect(7, page.sequence, 0)
        assert (later.sequence, later.deliveries, later.presence) == (page.sequence, [], [])

    asyncio.run(play())


def test_the_same_thing_is_said_once_and_what_changed_again() -> None:
    async def play() -> None:
        inboxes = AttemptInboxes()
        inboxes.begin(AttemptHello(7, 1, (_delivery(1),)))
        inboxes.begin(AttemptHello(7, 1, (_delivery(1),)))  # it said hello again
        inboxes.deliver(WorkForEngine(1, _delivery(1)))
        inboxes.deliver(WorkForEngine(1, _delivery(1, A.REJECTED)))
        page = await inboxes.collect(7, 0, 0)
        assert [d.status for d in page.deliveries] == [A.UPLOADED, A.REJECTED]

    asyncio.run(play())


def test_a_small_result_is_kept_until_it_is_acknowledged_and_no_longer() -> None:
    async def play() -> None:
        inboxes = AttemptInboxes()
        inboxes.begin(AttemptHello(7, 1))
        delivery = _delivery(1, inline="x" * 1_000)
        kept = weakref.ref(delivery)
        inboxes.deliver(WorkForEngine(1, delivery))
        del delivery
        page = await inboxes.collect(7, 0, 0)
        assert kept() is page.deliveries[0]
        page = await inboxes.collect(7, page.sequence, 0)
        gc.collect()
        assert kept() is None
        inboxes.deliver(WorkForEngine(1, _delivery(1, inline="x" * 1_000)))
        assert (await inboxes.collect(7, page.sequence, 0)).deliveries == [], "it was said"

    asyncio.run(play())


def test_one_that_waits_is_woken_at_once() -> None:
    async def play() -> None:
        inboxes = AttemptInboxes()
        inboxes.begin(AttemptHello(7, 1))
        for wake in (
            lambda: inboxes.deliver(WorkForEngine(1, _delivery(1))),
            lambda: inboxes.presence((7,), "d1", "offline"),
            lambda: inboxes.nudge(7),
            lambda: inboxes.forget(7),
        ):
            page = await inboxes.collect(7, 0, 0)
            waiting = asyncio.create_task(inboxes.collect(7, page.sequence, 10))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            await asyncio.to_thread(wake)
            await asyncio.wait_for(waiting, 1)

    asyncio.run(play())


def test_a_nudge_before_the_wait_is_not_lost() -> None:
    async def play() -> None:
        inboxes = AttemptInboxes()
        inboxes.begin(AttemptHello(7, 1))
        inboxes.nudge(7)
        page = await asyncio.wait_for(inboxes.collect(7, 0, 10), 1)
        assert page.deliveries == []

    asyncio.run(play())


def test_the_next_attempt_hears_in_place_of_the_last() -> None:
    async def play() -> None:
        inboxes = AttemptInboxes()
        inboxes.begin(AttemptHello(7, 1))
        inboxes.begin(AttemptHello(8, 1))
        inboxes.deliver(WorkForEngine(1, _delivery(1)))
        assert (await inboxes.collect(7, 0, 0)).deliveries == []
        assert len((await inboxes.collect(8, 0, 0)).deliveries) == 1
        assert (await inboxes.collect(99, 3, 10)).sequence == 3  # it is over: nothing to wait for

    asyncio.run(play())


def test_an_answer_is_bounded() -> None:
    async def play() -> None:
        inboxes = AttemptInboxes()
        large = "x" * (PAGE_BYTES // 2)
        many = tuple(_delivery(number, inline=large) for number in range(5))
        inboxes.begin(AttemptHello(7, 1, many))
        after, seen = 0, list[str]()
        while len(seen) < 5:
            page = await inboxes.collect(7, after, 0)
            assert 0 < len(page.deliveries) <= 2
            after, seen = page.sequence, [*seen, *(d.device for d in page.deliveries)]
        assert seen == ["d0", "d1", "d2", "d3", "d4"]

    asyncio.run(play())
