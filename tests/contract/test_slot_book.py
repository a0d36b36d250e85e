"""What every book of upload slots promises, in memory and in PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest
import sqlalchemy as sa
from postgres import POSTGRES, fresh_database

from fedops.core.errors import Unavailable
from fedops.server.blob_app.admission import Admission
from fedops.server.blob_app.slots_in_memory import SlotsInMemory
from fedops.server.database.database import Database
from fedops.server.peers import shared_slots, slot_table
from fedops.server.peers.shared_slots import SharedSlots
from fedops.server.peers.slot_table import SlotTable
from fedops.server.protocol.slot_book import SlotBook

#: Makes a book of so many slots that are held for so many seconds.
Open = Callable[[int, float], SlotBook]
KINDS = ["memory", "postgresql"] if POSTGRES else ["memory"]
needs_postgres = pytest.mark.skipif(POSTGRES is None, reason="FEDOPS_TEST_POSTGRES names no server")


@pytest.fixture
def db() -> Iterator[Database]:
    assert POSTGRES
    with fresh_database(POSTGRES, f"slots_{uuid.uuid4().hex}") as url:
        made = Database(url)
        made.migrate()
        yield made
        made.close()


@pytest.fixture(params=KINDS)
def open_book(request: pytest.FixtureRequest) -> Iterator[Open]:
    if request.param == "memory":
        yield SlotsInMemory
        return
    yield request.getfixturevalue("shared")


class _Shared:
    """Opens books as processes of one database do."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._books: list[SharedSlots] = []

    def __call__(self, slots: int, seconds: float) -> SharedSlots:
        table = SlotTable(self._db, uuid.uuid4().hex, slots, seconds)
        self._books.append(SharedSlots(table, seconds / 4))
        return self._books[-1]

    def close(self) -> None:
        for book in self._books:
            book.close()


@pytest.fixture
def shared(db: Database) -> Iterator[_Shared]:
    made = _Shared(db)
    yield made
    made.close()


async def _until(so: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not await so():
            await asyncio.sleep(0.01)


def test_slots_are_given_in_order_as_far_as_there_are_some(open_book: Open) -> None:
    async def run() -> None:
        book = open_book(2, 15.0)
        assert book.slots == 2
        assert await book.take(["c", "a", "b"]) == {"c", "a"}
        assert await book.take(["b"]) == frozenset()
        assert await book.take(["b", "a"]) == {"a"}, "who has one keeps it"
        assert await book.renew(["a", "b", "c", "x"]) == {"a", "c"}

    asyncio.run(run())


def test_what_is_released_is_given_to_the_next(open_book: Open) -> None:
    async def run() -> None:
        book = open_book(1, 15.0)
        await book.take(["a"])
        book.release("x")
        assert await book.take(["b"]) == frozenset()
        book.release("a")
        assert await book.take(["b"]) == {"b"}
        assert await book.renew(["a"]) == frozenset()
        book.release("b")
        assert await book.take(["b"]) == {"b"}, "also to the same again"

    asyncio.run(run())


def test_a_slot_runs_out_unless_it_is_used(open_book: Open) -> None:
    async def run() -> None:
        book = open_book(2, 0.8)
        await book.take(["used", "unused"])
        ends = asyncio.get_running_loop().time() + 1.6
        while asyncio.get_running_loop().time() < ends:
            book.used("used")
            await asyncio.sleep(0.02)
        assert await book.renew(["used", "unused"]) == {"used"}
        assert await book.take(["unused", "next"]) == {"unused"}, (
            "one that ran out can be taken anew"
        )

    asyncio.run(run())


def test_using_what_one_does_not_have_gives_nothing(open_book: Open) -> None:
    async def run() -> None:
        book = open_book(1, 0.2)
        await book.take(["a"])
        book.used("b")
        await asyncio.sleep(0.1)
        assert await book.renew(["b"]) == frozenset()

    asyncio.run(run())


def test_it_says_when_to_look_for_what_ran_out(open_book: Open) -> None:
    async def run() -> None:
        book = open_book(1, 0.3)
        await book.take(["a"])
        assert 0.0 < book.until_free() <= 1.0

        async def taken() -> bool:
            return bool(await book.take(["b"]))

        await _until(taken)

    asyncio.run(run())


def test_many_at_once_get_no_more_than_there_are(open_book: Open) -> None:
    async def run() -> None:
        book = open_book(5, 15.0)
        asked = [f"{number}" for number in range(40)]
        answers = await asyncio.gather(*(book.take([one]) for one in asked))
        assert len(frozenset().union(*answers)) == 5

    asyncio.run(run())


# --- several processes --------------------------------------------------------------------------


@needs_postgres
def test_the_number_of_slots_holds_over_all_processes(shared: _Shared) -> None:
    async def run() -> None:
        books = [shared(3, 15.0) for _ in range(3)]
        asked = [(book, f"{index} {n}") for index, book in enumerate(books) for n in range(10)]
        answers = await asyncio.gather(*(book.take([one]) for book, one in asked))
        held = frozenset().union(*answers)
        assert len(held) == 3
        assert await books[0].renew(held) == held

    asyncio.run(run())


@needs_postgres
def test_a_slot_that_one_gave_is_kept_by_the_use_at_another(shared: _Shared) -> None:
    async def run() -> None:
        gives, takes_in = shared(1, 1.0), shared(1, 1.0)
        assert await gives.take(["a"]) == {"a"}
        ends = asyncio.get_running_loop().time() + 2.5
        while asyncio.get_running_loop().time() < ends:
            takes_in.used("a")
            await asyncio.sleep(0.02)
        assert await gives.take(["b"]) == frozenset(), "a long upload is counted to its end"

    asyncio.run(run())


@needs_postgres
def test_a_slot_that_one_gave_is_released_at_another(shared: _Shared) -> None:
    async def run() -> None:
        gives, takes_in = shared(1, 60.0), shared(1, 60.0)
        assert await gives.take(["a"]) == {"a"}
        takes_in.release("a")

        async def free() -> bool:
            return bool(await gives.take(["b"]))

        await _until(free)

    asyncio.run(run())


@needs_postgres
def test_a_line_goes_on_when_another_process_releases_or_dies(
    shared: _Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_slots, "LOOK_SECONDS", 60.0)

    async def run() -> None:
        ours, theirs = shared(1, 2.0), shared(1, 2.0)
        line = Admission(ours)
        await theirs.take(["x"])
        waits = asyncio.create_task(line.acquire("a", 10.0))
        await asyncio.sleep(0.1)
        assert not waits.done()
        theirs.release("x")
        await theirs.renew(["x"])  # it is written
        ours.heard()
        assert (await waits).granted
        monkeypatch.setattr(shared_slots, "LOOK_SECONDS", 0.2)
        line.release("a")
        assert await ours.renew(["a"]) == frozenset()
        assert await theirs.take(["y"]) == {"y"}  # and nothing more is heard of that process
        assert (await line.acquire("b", 10.0)).granted

    asyncio.run(run())


@needs_postgres
def test_a_process_that_stands_still_holds_up_nobody(
    shared: _Shared, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = sa.text(slot_table._TAKE_TURN.text.replace("5s", "300ms"))
    monkeypatch.setattr(slot_table, "_TAKE_TURN", short)

    async def take() -> frozenset[str]:
        async with asyncio.timeout(5.0):
            return await shared(1, 15.0).take(["a"])

    def stand_still() -> None:
        with db.aside() as session:
            session.execute(slot_table._TAKE_TURN)
            assert asyncio.run(take()) == {"a"}

    with pytest.raises(Unavailable):
        stand_still()


@needs_postgres
def test_an_upload_asks_the_database_seldom(
    shared: _Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = 0
    exchange = SlotTable.exchange

    def counted(table: SlotTable, *given: object) -> frozenset[str]:
        nonlocal questions
        questions += 1
        return exchange(table, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(SlotTable, "exchange", counted)

    async def run() -> None:
        line = Admission(shared(8, 15.0))
        slots = await asyncio.gather(*(line.acquire(f"{n}", 1.0) for n in range(8)))
        assert all(slot.granted for slot in slots)
        assert questions <= 3, "who has one already, the first, the rest"
        before = questions
        for number in range(8):
            async with line.transfer(f"{number}") as came:
                for _ in range(1_000):
                    came()
        assert questions == before, "not even once for a block, nor for an upload that is short"

    asyncio.run(run())


@needs_postgres
def test_without_the_database_nobody_gets_a_slot_and_it_goes_on_later(
    shared: _Shared, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True
    exchange = SlotTable.exchange

    def sometimes(table: SlotTable, *given: object) -> frozenset[str]:
        if away:
            raise Unavailable("the database is away")
        return exchange(table, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(SlotTable, "exchange", sometimes)

    async def run() -> None:
        nonlocal away
        book = shared(1, 15.0)
        line = Admission(book)
        with pytest.raises(Unavailable):
            await line.acquire("a", 1.0)
        away = False
        assert (await line.acquire("a", 1.0)).granted
        waits = asyncio.create_task(line.acquire("b", 10.0))
        await asyncio.sleep(0.1)
        away = True
        line.release("a")
        await asyncio.sleep(0.1)
        assert not waits.done()
        away = False
        line.release("a")
        assert (await waits).granted

    asyncio.run(run())
