"""Questions to the database that are asked in the same moment, answered by one look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence


class BatchedLookup:
    """Used in one event loop. ``look`` runs in a thread: which of these are so."""

    def __init__(self, look: Callable[[Sequence[str]], set[str]]) -> None:
        self._look = look
        self._asked: set[str] = set()
        self._answer: asyncio.Future[set[str]] | None = None
        self._looking = False

    async def ask(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that are so."""
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            if not self._looking:
                asyncio.get_running_loop().call_soon(self._begin)
        self._asked.update(ids)
        found = await asyncio.shield(self._answer)
        return found & set(ids)

    def _begin(self) -> None:
        asked, answer = sorted(self._asked), self._answer
        assert answer is not None
        self._asked, self._answer, self._looking = set(), None, True
        task = asyncio.get_running_loop().run_in_executor(None, self._look, asked)
        task.add_done_callback(lambda done: self._end(answer, done))

    def _end(self, answer: asyncio.Future[set[str]], done: asyncio.Future[set[str]]) -> None:
        self._looking = False
        if self._answer is not None:
            self._begin()
        error = done.exception()
        if error is not None:
            answer.set_exception(error)
            answer.exception()  # whoever asked may be gone
        else:
            answer.set_result(done.result())
