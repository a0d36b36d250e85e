"""Who has an upload slot, as the line for slots (``Admission``) asks it: from memory or the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

#: How many upload slots there are, unless it is said.
SLOTS = 32
#: A slot whose holder sends nothing for so long is free again. Seconds.
SLOT_SECONDS = 15.0

Holders = asyncio.Future[frozenset[str]]


class SlotBook(Protocol):
    """Used in one event loop. A holder is whatever its caller names: the id of an assignment.

    An answer may be there already: who looks at ``done`` need not wait for it.
    """

    #: How many slots there are.
    slots: int
    #: Called in the loop when a slot may have become free that was not released here.
    freed: Callable[[], None]

    def take(self, holders: Sequence[str]) -> Holders:
        """Give slots to the first of them, as far as there are any. Who got one, or had one before.

        ``Unavailable`` when nobody can say.
        """
        ...

    def renew(self, holders: Collection[str]) -> Holders:
        """Those of them that have a slot; they have it ``SLOT_SECONDS`` longer. ``Unavailable`` as above."""
        ...

    def used(self, holder: str) -> None:
        """Bytes came from it: its slot, if it has one, is renewed before it runs out. Costs nothing."""
        ...

    def release(self, holder: str) -> None:
        """Its upload is over. Not having a slot is no error."""
        ...

    def until_free(self) -> float:
        """After how many seconds to look for a slot that became free by itself."""
        ...
