"""Who gets a slot, in which order, for how long."""

from __future__ import annotations

import asyncio
import time

import pytest

from fedops.core.contracts import TransferSlot
from fedops.server.blob_app.admission import Admission, Busy
from fedops.server.blob_app.slots_in_memory import SlotsInMemory


def _admission(slots: int, lease: float = 10.0) -> Admission:
    return Admission(SlotsInMemory(slots, lease), jitter=lambda: 0.5)


def test_slots_are_given_as_far_as_there_are_some() -> None:
    async def run() -> None:
        admission = _admission(2)
        for holder in ("a", "b", "a"):
            assert (await admission.acquire(holder, 0.0)).granted
        refused = await admission.acquire("c", 0.01)
        assert refused == TransferSlot(granted=False, retry_after=0.5)

    asyncio.run(run())


def test_who_came_first_is_served_first() -> None:
    async def run() -> None:
        admission = _admission(1)
        await admission.acquire("x", 0.0)
        served: list[str] = []

        async def wait(holder: str) -> None:
            assert (await admission.acquire(holder, 5.0)).granted
            served.append(holder)
            admission.release(holder)

        tasks = []
        for holder in "abcdef":
            tasks.append(asyncio.create_task(wait(holder)))
            await asyncio.sleep(0)
        admission.release("x")
        await asyncio.gather(*tasks)
        assert "".join(served) == "abcdef"

    asyncio.run(run())


def test_who_asks_again_keeps_its_place() -> None:
    async def run() -> None:
        admission = _admission(1)
        await admission.acquire("x", 0.0)
        assert not (await admission.acquire("a", 0.01)).granted
        later = asyncio.create_task(admission.acquire("b", 5.0))
        await asyncio.sleep(0)
        first = asyncio.create_task(admission.acquire("a", 5.0))
        await asyncio.sleep(0)
        admission.release("x")
        assert (await first).granted
        assert not later.done()
        admission.release("a")
        assert (await later).granted

    asyncio.run(run())


def test_nobody_waits_for_one_who_is_away() -> None:
    async def run() -> None:
        admission = _admission(1)
        await admission.acquire("x", 0.0)
        assert not (await admission.acquire("a", 0.01)).granted
        later = asyncio.create_task(admission.acquire("b", 5.0))
        await asyncio.sleep(0)
        admission.release("x")
        assert (await later).granted

    asyncio.run(run())


def test_a_second_question_of_the_same_ends_the_first() -> None:
    async def run() -> None:
        admission = _admission(1)
        await admission.acquire("x", 0.0)
        first = asyncio.create_task(admission.acquire("a", 5.0))
        await asyncio.sleep(0)
        second = asyncio.create_task(admission.acquire("a", 5.0))
        assert not (await first).granted
        admission.release("x")
        assert (await second).granted

    asyncio.run(run())


def test_a_caller_that_leaves_holds_nobody_up() -> None:
    async def run() -> None:
        admission = _admission(1)
        await admission.acquire("x", 0.0)
        gone = asyncio.create_task(admission.acquire("a", 5.0))
        await asyncio.sleep(0)
        stays = asyncio.create_task(admission.acquire("b", 5.0))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        admission.release("x")
        assert (await stays).granted
        granted_late = asyncio.create_task(admission.acquire("c", 5.0))
        await asyncio.sleep(0)
        admission.release("b")
        granted_late.cancel()
        await asyncio.gather(granted_late, return_exceptions=True)
        assert (await admission.acquire("d", 0.0)).granted

    asyncio.run(run())


def test_a_slot_without_bytes_is_given_to_the_next() -> None:
    async def run() -> None:
        admission = _admission(1, lease=0.1)
        await admission.acquire("x", 0.0)
        began = time.monotonic()
        assert (await admission.acquire("a", 5.0)).granted
        assert 0.05 < time.monotonic() - began < 1.0

    asyncio.run(run())


def test_bytes_renew_the_lease() -> None:
    async def run() -> None:
        admission = _admission(1, lease=0.1)
        await admission.acquire("x", 0.0)
        async with admission.transfer("x") as came:
            for _ in range(5):
                await asyncio.sleep(0.04)
                came()
            assert not (await admission.acquire("a", 0.01)).granted

    asyncio.run(run())


def test_without_a_slot_only_twice_as_many_run() -> None:
    async def run() -> None:
        admission = _admission(1)
        await admission.acquire("x", 0.0)
        async with admission.transfer("a"), admission.transfer("b"):
            with pytest.raises(Busy, match="ask for a slot"):
                await admission.transfer("c").__aenter__()
            async with admission.transfer("x"):
                assert admission.running == 3
        assert admission.running == 0

    asyncio.run(run())


def test_a_thousand_are_let_in_by_groups_and_all_are_served() -> None:
    async def run() -> None:
        book = SlotsInMemory(32)
        admission = Admission(book)
        most = served = 0

        async def upload(holder: str) -> None:
            nonlocal most, served
            while not (slot := await admission.acquire(holder, 0.3)).granted:
                await asyncio.sleep(slot.retry_after / 10)
            async with admission.transfer(holder):
                most = max(most, admission.running)
                await asyncio.sleep(0.002)
            served += 1
            admission.release(holder)

        began = time.monotonic()
        await asyncio.gather(*(upload(str(number)) for number in range(1_000)))
        assert (served, most <= 32) == (1_000, True)
        assert time.monotonic() - began < 10
        assert admission._line == {}
        assert not await book.renew([str(number) for number in range(1_000)])

    asyncio.run(run())
