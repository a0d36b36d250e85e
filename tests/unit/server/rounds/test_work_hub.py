"""The hub of work: what devices are told, when they are woken, and what is let go of. No I/O, fake clocks."""

from __future__ import annotations

import asyncio
import time

from fedops.core.contracts import HeldAssignment, Progress, Stage
from fedops.core.states import AssignmentStatus as A
from fedops.server.assignments.assignments import Seen
from fedops.server.events.notifications import OpenWork, WorkOver
from fedops.server.rounds.wake_ups import GROUP, PAUSE_SECONDS, WakeUps
from fedops.server.rounds.work_hub import REPEAT_SECONDS, Listener, News, WorkHub
from fedops.testing import FakeClock


def _id(number: int) -> str:
    return f"{number:032x}"


def _work(number: int, device: str = "d", **changed: object) -> OpenWork:
    values: dict[str, object] = {
        "id": _id(number),
        "device_id": device,
        "kind": "train",
        "task": "t",
        "run_id": 1,
        "attempt": 1,
        "round": 1,
        "retry": 0,
        "group_id": "1",
        "work_key": "k",
        "instruction": "i",
        "model": None,
        "encodings": ("none",),
        "max_bytes": None,
        "deadline_at": 1_000_060.0,
        "upload_grace": 30.0,
    }
    return OpenWork(**{**values, **changed})  # type: ignore[arg-type]


class _World:
    def __init__(self) -> None:
        self.clock, self.ticks = FakeClock(), FakeClock(0.0)
        self.hub = WorkHub(clock=self.clock, monotonic=self.ticks)

    async def poll(
        self, *held: int, life: str = "l", after: int | None = None, wait: float = 0.0
    ) -> News:
        said = [HeldAssignment(id=_id(number)) for number in held]
        poll = self.hub.polled("d", said)
        listener = Listener("d", life, frozenset(one.id for one in said), poll)
        revision = self.hub.revision("d") if after is None else after
        return await self.hub.wait(listener, revision, wait)


def _ids(news: News) -> tuple[list[str], list[str], list[str]]:
    return [o.id for o in news.offers], [c.id for c in news.cancel], news.forget


NOTHING: tuple[list[str], list[str], list[str]] = ([], [], [])


def test_an_offer_is_given_until_it_is_held() -> None:
    async def play() -> None:
        world = _World()
        world.hub.offered([_work(1)])
        for _ in range(3):
            assert _ids(await world.poll()) == ([_id(1)], [], [])
        assert _ids(await world.poll(1)) == NOTHING
        assert _ids(await world.poll()) == ([_id(1)], [], [])  # it forgot: another life

    asyncio.run(play())


def test_a_poll_that_waits_is_not_answered_at_once_with_what_was_just_given() -> None:
    async def play() -> None:
        world = _World()
        world.hub.offered([_work(1)])
        assert (await world.poll(wait=10)).offers
        waiting = asyncio.create_task(world.poll(wait=10))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        world.hub.offered([_work(2)])  # that is news
        assert [offer.id for offer in (await waiting).offers] == [_id(1), _id(2)]
        world.ticks.advance(REPEAT_SECONDS)
        assert (await asyncio.wait_for(world.poll(wait=10), 0.5)).offers
        assert (await asyncio.wait_for(world.poll(life="new", wait=10), 0.5)).offers

    asyncio.run(play())


def test_no_wake_up_is_lost_between_two_polls() -> None:
    """However polls and offers fall together, each offer is in the next answer at the latest."""

    async def play() -> None:
        hub, seen = WorkHub(), set[str]()

        async def device() -> None:
            held: set[str] = set()
            while len(seen) < 200:
                poll = hub.polled("d", [HeldAssignment(id=id_) for id_ in held])
                listener = Listener("d", "l", frozenset(held), poll)
                news = await asyncio.wait_for(hub.wait(listener, hub.revision("d"), 5), 2)
                new = {offer.id for offer in news.offers} - seen
                seen.update(new)
                held = new
                for id_ in held:
                    hub.over(WorkOver(id_, "d"))

        polling = asyncio.create_task(device())
        for number in range(200):
            await asyncio.to_thread(hub.offered, [_work(number)])
            await asyncio.sleep(0.001 * (number % 3))
        await polling
        assert len(seen) == 200

    asyncio.run(play())


def test_a_revision_is_news_of_its_own() -> None:
    async def play() -> None:
        world = _World()
        known = (await world.poll()).revision
        waiting = asyncio.create_task(world.poll(after=known, wait=10))
        await asyncio.sleep(0.02)
        world.hub.changed("d")
        assert (await asyncio.wait_for(waiting, 1)).revision == known + 1
        assert (await asyncio.wait_for(world.poll(after=known, wait=10), 1)).revision == known + 1

    asyncio.run(play())


def test_what_is_cancelled_is_said_until_a_later_poll_lacks_it() -> None:
    async def play() -> None:
        world = _World()
        world.hub.offered([_work(1)])
        await world.poll()
        world.hub.accept("d", _id(1))
        waiting = asyncio.create_task(world.poll(1, wait=10))
        await asyncio.sleep(0.02)
        world.hub.over(WorkOver(_id(1), "d", "stopped", checkpoint=True))
        (said,) = (await asyncio.wait_for(waiting, 1)).cancel
        assert (said.id, said.reason, said.checkpoint) == (_id(1), "stopped", True)
        assert world.hub.take_released() == set()
        assert _ids(await world.poll(1)) == ([], [_id(1)], [])
        assert _ids(await world.poll()) == NOTHING
        assert world.hub.take_released() == {_id(1)}
        assert _ids(await world.poll(1)) == ([], [_id(1)], [])  # it has it after all

    asyncio.run(play())


def test_a_poll_sent_before_the_instruction_was_fetched_confirms_nothing() -> None:
    async def play() -> None:
        world = _World()
        world.hub.offered([_work(1)])
        await world.poll()
        waiting = asyncio.create_task(world.poll(wait=10))  # it holds nothing yet
        await asyncio.sleep(0.02)
        world.hub.accept("d", _id(1))
        world.hub.over(WorkOver(_id(1), "d", "stopped"))
        assert _ids(await asyncio.wait_for(waiting, 1)) == ([], [_id(1)], [])
        assert world.hub.take_released() == set()
        await world.poll()
        assert world.hub.take_released() == {_id(1)}

    asyncio.run(play())


def test_what_was_never_fetched_is_let_go_of_at_once() -> None:
    world = _World()
    world.hub.offered([_work(1)])
    world.hub.over(WorkOver(_id(1), "d", "stopped"))
    assert world.hub.take_released() == {_id(1)}
    assert world.hub.accept("d", _id(1)) == WorkOver(_id(1), "d", "stopped")


def test_what_is_delivered_is_forgotten() -> None:
    async def play() -> None:
        world = _World()
        world.hub.offered([_work(1), _work(2)])
        world.hub.over(WorkOver(_id(1), "d"))
        assert _ids(await world.poll(1, 2)) == ([], [], [_id(1)])
        assert _ids(await world.poll(2, 9)) == ([], [], [_id(9)])
        assert world.hub.take_released() == set()

    asyncio.run(play())


def test_who_is_done_with_one_piece_is_given_the_others_at_once() -> None:
    async def play() -> None:
        world = _World()
        world.hub.offered([_work(1), _work(2)])
        assert len((await world.poll(wait=10)).offers) == 2  # it takes one at a time
        waiting = asyncio.create_task(world.poll(1, wait=10))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        world.hub.over(WorkOver(_id(1), "d"))
        assert [offer.id for offer in (await asyncio.wait_for(waiting, 0.5)).offers] == [_id(2)]
        waiting = asyncio.create_task(world.poll(2, wait=10))
        await asyncio.sleep(0.05)
        world.hub.over(WorkOver(_id(2), "d"))
        await asyncio.sleep(0.05)
        assert not waiting.done()  # there is nothing left to be told
        world.hub.close()
        await waiting

    asyncio.run(play())


def test_two_copies_get_no_offers_and_cause_no_busy_loop() -> None:
    async def play() -> None:
        world = _World()
        world.hub.offered([_work(1)])
        poll = world.hub.polled("d", [])
        listener = Listener("d", "l", frozenset(), poll, takes_offers=False)
        waiting = asyncio.create_task(world.hub.wait(listener, world.hub.revision("d"), 10))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        world.hub.close()
        assert (await waiting).offers == []

    asyncio.run(play())


def test_progress_is_kept_for_the_database_once() -> None:
    world = _World()
    hub = world.hub
    hub.offered([_work(1)])
    assert not hub.dirty
    hub.accept("d", _id(1))
    (seen,) = hub.take_seen()
    assert (seen.status, seen.accepted_at, seen.stage) == (A.ACCEPTED, 1_000_000.0, "waiting")
    assert hub.progress("d", _id(1), Progress(stage=Stage.TRAINING, done=1, total=5))
    assert hub.progress("d", _id(1), Progress(stage=Stage.TRAINING, done=1, total=5))
    (seen,) = hub.take_seen()
    assert (seen.status, seen.stage, seen.done, seen.total) == (A.WORKING, "training", 1, 5)
    assert not hub.dirty
    assert not hub.progress("other", _id(1), Progress(stage=Stage.TRAINING))
    hub.progress("d", _id(1), Progress(stage=Stage.UPLOADING))
    hub.give_back(set(), hub.take_seen())
    assert hub.dirty


def test_a_poll_says_how_far_the_device_is() -> None:
    hub = _World().hub
    hub.offered([_work(1)])
    hub.polled("d", [HeldAssignment(id=_id(1), stage=Stage.DOWNLOADING, done=3, total=9)])
    (seen,) = hub.take_seen()
    assert (seen.status, seen.stage, seen.done) == (A.WORKING, "downloading", 3)


def test_who_uploads_is_late_only_after_the_grace() -> None:
    world = _World()
    world.hub.offered([_work(1), _work(2), _work(3)])
    world.hub.progress("d", _id(2), Progress(stage=Stage.UPLOADING))
    world.hub.wants_to_send("d", _id(3), 10)
    assert world.hub.late(1_000_059.9) == {}
    assert set(world.hub.late(1_000_060.0)) == {_id(1)}
    assert set(world.hub.late(1_000_090.0)) == {_id(1), _id(2), _id(3)}


def test_how_much_of_an_upload_is_here_the_server_knows_best() -> None:
    world = _World()
    world.hub.offered([_work(1)])
    world.hub.progress("d", _id(1), Progress(stage=Stage.UPLOADING, done=100, total=100))
    world.hub.arrived("d", _id(1), 30, 100)
    world.hub.polled("d", [HeldAssignment(id=_id(1), stage=Stage.UPLOADING, done=100, total=100)])
    (seen,) = world.hub.take_seen()
    assert (seen.stage, seen.done, seen.total) == ("uploading", 30, 100)
    world.hub.arrived("d", _id(9), 1, 2)  # of an assignment that is over


def test_since_when_a_result_is_sent_is_kept_until_the_device_works_again() -> None:
    world = _World()
    hub = world.hub
    hub.offered([_work(1)])
    hub.progress("d", _id(1), Progress(stage=Stage.TRAINING))
    assert hub.sending_since("d", _id(1)) is None
    world.clock.advance(5.0)
    hub.wants_to_send("d", _id(1), 100)
    world.clock.advance(5.0)
    hub.arrived("d", _id(1), 30, 100)
    (seen,) = hub.take_seen()
    assert seen.sending_at == hub.sending_since("d", _id(1)) == 1_000_005.0
    hub.progress("d", _id(1), Progress(stage=Stage.TRAINING))  # it had lost its result
    assert hub.sending_since("d", _id(1)) is None
    assert hub.sending_since("d", _id(9)) is None


def test_after_a_restart_what_was_open_may_be_held() -> None:
    async def play() -> None:
        world = _World()
        seen = Seen(_id(1), A.WORKING, 1.0, None, "training", 1, 5, "")
        offered = Seen(_id(2), A.OFFERED, None, None, "waiting", 0, 0, "")
        ended = WorkOver(_id(3), "d", "stopped")
        known = [(_work(1), seen), (_work(2), offered)]
        world.hub.load(known, [(_work(3), ended)])
        assert _ids(await world.poll(1, 3)) == ([_id(2)], [_id(3)], [])
        world.hub.over(WorkOver(_id(2), "d", "stopped"))
        assert world.hub.take_released() == set()  # it may have been fetched before
        await world.poll(1)
        assert world.hub.take_released() == {_id(2), _id(3)}

    asyncio.run(play())


# --- waking ----------------------------------------------------------------------------------


def test_many_are_woken_in_small_groups() -> None:
    async def play() -> None:
        wake_ups, woken = WakeUps(), list[float]()
        begin = time.monotonic()

        async def wait(key: int) -> None:
            await wake_ups.park(key).until(10)
            woken.append(time.monotonic() - begin)

        waiting = [asyncio.create_task(wait(key)) for key in range(50)]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(wake_ups.wake, range(50))
        await asyncio.gather(*waiting)
        assert len(woken) == 50
        assert woken[-1] - woken[0] >= (50 / GROUP - 1) * PAUSE_SECONDS * 0.8

    asyncio.run(play())


def test_one_who_went_away_holds_up_nobody() -> None:
    async def play() -> None:
        wake_ups = WakeUps()
        gone = asyncio.create_task(wake_ups.park("a").until(10))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        stays = asyncio.create_task(wake_ups.park("a").until(10))
        await asyncio.sleep(0)
        assert not stays.done()
        wake_ups.wake(["a"])
        await asyncio.wait_for(stays, 1)
        assert gone.cancelled()
        wake_ups.wake(["a", "nobody"])
        wake_ups.close()

    asyncio.run(play())
