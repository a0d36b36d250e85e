"""Questions asked in the same moment are answered by one look."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from fedops.core.errors import Unavailable
from fedops.server.peers.batched_lookup import BatchedLookup


def test_who_asks_while_one_looks_shares_the_next_look() -> None:
    looks: list[list[str]] = []
    may_end = threading.Event()

    def look(ids: Sequence[str]) -> set[str]:
        looks.append(list(ids))
        assert may_end.wait(5)
        return {id_ for id_ in ids if id_ != "over"}

    async def ask() -> list[set[str]]:
        together = BatchedLookup(look)
        first = asyncio.create_task(together.ask(["a", "over"]))
        await asyncio.sleep(0.05)
        later = [asyncio.create_task(together.ask([name])) for name in ("b", "c")]
        await asyncio.sleep(0.05)
        may_end.set()
        return [await task for task in (first, *later)]

    assert asyncio.run(ask()) == [{"a"}, {"b"}, {"c"}]
    assert looks == [["a", "over"], ["b", "c"]]


def test_all_who_asked_hear_what_went_wrong_and_the_next_look_is_another() -> None:
    answers: list[BaseException | set[str]] = [Unavailable("away"), {"a"}]

    def look(ids: Sequence[str]) -> set[str]:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def ask() -> set[str]:
        together = BatchedLookup(look)
        found = await asyncio.gather(*(together.ask(["a"]) for _ in "ab"), return_exceptions=True)
        assert all(isinstance(one, Unavailable) for one in found)
        return await together.ask(["a"])

    assert asyncio.run(ask()) == {"a"}
