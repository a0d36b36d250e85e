"""Who causes what is written now: the person whose call it is, if it is one's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """A user, with the token used, at an address. No user: somebody who did not say who they are."""

    user: str | None
    token_id: int | None
    address: str | None


_acting: ContextVar[Person | None] = ContextVar("fedops_acting", default=None)


def acting_person() -> Person | None:
    """Of this call and the threads that work for it. None: a program acts."""
    return _acting.get()


@contextmanager
def acting_as(person: Person | None) -> Iterator[None]:
    """What is done in this block is caused by ``person``."""
    before = _acting.set(person)
    try:
        yield
    finally:
        _acting.reset(before)
