"""The doorbell: nobody misses news, nobody is woken for nothing, slots are few and come back."""

from __future__ import annotations

import asyncio
import threading
import time

from fedops.server.doorbell import Doorbell
from fedops.testing import FakeClock


async def later(task: asyncio.Task[object]) -> bool:
    """Whether the task is still waiting after it had its chance to run."""
    for _ in range(5):
        await asyncio.sleep(0.005)
    return not task.done()


def test_a_device_that_knows_an_old_revision_is_answered_at_once() -> None:
    bell = Doorbell()
    assert asyncio.run(bell.wait_device("d", 0, 60)) == bell.revision("d")
    bell.bump_device("d")
    known = bell.revision("d")
    assert asyncio.run(bell.wait_device("d", known - 1, 60)) == known


def test_a_device_waits_until_it_is_bumped_from_another_thread() -> None:
    async def scenario() -> None:
        bell = Doorbell()
        known = bell.revision("d")
        waiting = asyncio.create_task(bell.wait_device("d", known, 30))
        assert await later(waiting)
        bell.bump_device("other")
        assert await later(waiting)
        threading.Thread(target=bell.bump_device, args=("d",)).start()
        assert await asyncio.wait_for(waiting, 2) == known + 1

    asyncio.run(scenario())


def test_a_wait_without_news_ends_with_what_was_known() -> None:
    async def scenario() -> None:
        bell = Doorbell()
        known = bell.revision("d")
        assert await bell.wait_device("d", known, 0.02) == known
        assert (await bell.wait_bell("n", bell.epoch, 0, 0.02)).count == 0
        assert await bell.wait_signals(1, 0, 0.02) == []

    asyncio.run(scenario())


def test_revisions_go_on_rising_in_the_next_life_of_the_server() -> None:
    first = Doorbell()
    first.bump_device("d")
    time.sleep(0.005)
    assert Doorbell().revision("d") > first.revision("d")


def test_a_ring_before_the_wait_is_not_lost() -> None:
    async def scenario() -> None:
        bell = Doorbell()
        bell.ring(["n", "m"])
        assert (await bell.wait_bell("n", bell.epoch, 0, 30)).count == 1
        waiting = asyncio.create_task(bell.wait_bell("n", bell.epoch, 1, 30))
        assert await later(waiting)
        bell.ring(["n"])
        assert (await asyncio.wait_for(waiting, 2)).count == 2

    asyncio.run(scenario())


def test_a_node_of_another_epoch_is_told_at_once() -> None:
    bell = Doorbell()
    answer = asyncio.run(bell.wait_bell("n", "of-an-earlier-life", 7, 60))
    assert (answer.epoch, answer.count) == (bell.epoch, 0)


def test_signals_are_kept_until_they_were_seen() -> None:
    async def scenario() -> None:
        bell = Doorbell()
        bell.signal(1, "hello", device="pi-1")
        bell.signal(1, "uploaded", device="pi-2", message_id="m", reply_to="r")
        bell.signal(2, "gone", device="pi-1")
        first = await bell.wait_signals(1, 0, 30)
        assert [(s.sequence, s.kind, s.device) for s in first] == [
            (1, "hello", "pi-1"),
            (2, "uploaded", "pi-2"),
        ]
        assert await bell.wait_signals(1, 0, 30) == first  # the answer may have been lost
        assert [s.sequence for s in await bell.wait_signals(1, 1, 30)] == [2]
        waiting = asyncio.create_task(bell.wait_signals(1, 2, 30))
        assert await later(waiting)
        bell.signal(1, "command", text="stop")
        assert [s.text for s in await asyncio.wait_for(waiting, 2)] == ["stop"]

    asyncio.run(scenario())


def test_an_attempt_may_allow_more_or_fewer_uploads_at_a_time() -> None:
    async def scenario() -> None:
        bell = Doorbell()
        bell.allow_slots(1, 1)
        assert await bell.acquire_slot(1, "a", 1)
        b = asyncio.create_task(bell.acquire_slot(1, "b", 30))
        assert await later(b)
        bell.allow_slots(1, 2)
        assert await asyncio.wait_for(b, 2)

    asyncio.run(scenario())


def test_two_nodes_upload_at_a_time_and_the_others_in_order_of_asking() -> None:
    async def scenario() -> None:
        bell = Doorbell()
        assert await bell.acquire_slot(1, "a", 1)
        assert await bell.acquire_slot(1, "b", 1)
        assert await bell.acquire_slot(2, "c", 1)  # another attempt has its own
        c = asyncio.create_task(bell.acquire_slot(1, "c", 30))
        assert await later(c)
        d = asyncio.create_task(bell.acquire_slot(1, "d", 30))
        assert await later(d)
        bell.release_slot(1, "a")
        assert await asyncio.wait_for(c, 2)
        assert await later(d)
        assert await bell.acquire_slot(1, "c", 1)  # asking again keeps it
        bell.signal(1, "uploaded", reply_to="r", node_id="b")
        bell.release_reply(1, "r")
        bell.release_reply(1, "r")
        assert await asyncio.wait_for(d, 2)
        assert not await bell.acquire_slot(1, "e", 0.02)
        bell.release_node("d")
        assert await bell.acquire_slot(1, "e", 0.02)
        bell.release_all(1)
        assert await bell.acquire_slot(1, "f", 0.02)

    asyncio.run(scenario())


def test_who_left_the_queue_gets_no_slot() -> None:
    async def scenario() -> None:
        bell = Doorbell(slots=1)
        assert await bell.acquire_slot(1, "a", 1)
        assert not await bell.acquire_slot(1, "b", 0.02)
        left = asyncio.create_task(bell.acquire_slot(1, "b", 30))
        assert await later(left)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        bell.release_slot(1, "a")
        assert await bell.acquire_slot(1, "c", 0.02)

    asyncio.run(scenario())


def test_a_slot_whose_holder_fell_silent_comes_back() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        bell = Doorbell(clock=clock, slots=1)
        assert await bell.acquire_slot(1, "a", 1)
        clock.advance(119.0)
        assert not await bell.acquire_slot(1, "b", 0.02)
        clock.advance(2.0)
        assert await bell.acquire_slot(1, "b", 0.02)

    asyncio.run(scenario())


def test_a_waiting_node_gets_the_slot_when_a_lease_ends() -> None:
    async def scenario() -> None:
        bell = Doorbell(slots=1, lease_seconds=0.1)
        assert await bell.acquire_slot(1, "a", 1)
        assert await asyncio.wait_for(bell.acquire_slot(1, "b", 30), 2)

    asyncio.run(scenario())


def test_forgetting_an_attempt_and_closing_let_everybody_go() -> None:
    async def scenario() -> None:
        bell = Doorbell(slots=1)
        assert await bell.acquire_slot(1, "a", 1)
        signals = asyncio.create_task(bell.wait_signals(1, 0, 30))
        slot = asyncio.create_task(bell.acquire_slot(1, "b", 30))
        assert await later(slot)
        bell.forget(1)
        assert await asyncio.wait_for(signals, 2) == []
        assert not await asyncio.wait_for(slot, 2)
        assert await bell.acquire_slot(3, "a", 1)
        parked = [
            asyncio.create_task(bell.wait_device("d", bell.revision("d"), 30)),
            asyncio.create_task(bell.wait_bell("n", bell.epoch, 0, 30)),
            asyncio.create_task(bell.wait_signals(2, 0, 30)),
            asyncio.create_task(bell.acquire_slot(3, "b", 30)),
        ]
        assert await later(parked[0])
        bell.close()
        await asyncio.wait_for(asyncio.gather(*parked), 2)
        assert await asyncio.wait_for(bell.wait_device("d", bell.revision("d"), 30), 2)

    asyncio.run(scenario())


def test_a_thousand_waiters_are_cheap_and_each_hears_its_own_bell() -> None:
    async def scenario() -> float:
        bell = Doorbell()
        waits = [
            asyncio.create_task(bell.wait_bell(f"n{i}", bell.epoch, 0, 30)) for i in range(1000)
        ]
        slots = [asyncio.create_task(bell.acquire_slot(1, f"n{i}", 30)) for i in range(1000)]
        await asyncio.sleep(0)
        started = time.process_time()
        for i in range(1000):
            bell.ring([f"n{i}"])
        assert {w.count for w in await asyncio.gather(*waits)} == {1}
        for i in range(1000):
            assert await slots[i]
            bell.release_slot(1, f"n{i}")
        return time.process_time() - started

    assert asyncio.run(scenario()) < 3.0
