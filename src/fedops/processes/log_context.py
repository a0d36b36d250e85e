"""What a line of the log is about, where it is known: a run, a task, a device. Lines as JSON say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: What may be said. Anything else that a library hands to its logger is left out.
NAMES: Final = ("run_id", "attempt", "round", "task", "device")
_NUMBERS = ("run_id", "attempt", "round")
_about: ContextVar[Mapping[str, object] | None] = ContextVar("fedops_log_about", default=None)
_always: dict[str, object] = {}


@contextmanager
def about(**names: object) -> Iterator[None]:
    """Lines of this block, and of the calls it hands to threads, are about these."""
    token = _about.set({**(_about.get() or {}), **chosen(names)})
    try:
        yield
    finally:
        _about.reset(token)


def always_about(**names: object) -> None:
    """All lines of this process are about these, from now on."""
    _always.update(chosen(names))


def known() -> dict[str, object]:
    """What the line that is written now is about."""
    return {**_always, **(_about.get() or {})}


def chosen(names: Mapping[str, object]) -> dict[str, object]:
    """Of these names, those that a line may say and that are known."""
    return {name: _value(name, names[name]) for name in NAMES if names.get(name) is not None}


def _value(name: str, given: object) -> object:
    """Numbers as numbers, even out of a path."""
    is_number = name in _NUMBERS and isinstance(given, str) and given.isdecimal()
    return int(given) if is_number and len(str(given)) < 20 else given  # type: ignore[call-overload]
