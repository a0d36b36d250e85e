"""What keeps a fault of ours from the user's program."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
#: What went wrong in our own hooks, and where; told at the end.
faults: dict[str, str] = {}


def shielded(hook: F) -> F:
    """A hook that records what goes wrong in it, and passes. Ending the training is no fault."""

    @functools.wraps(hook)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return hook(*args, **kwargs)
        except Exception as error:  # a fault of ours, whatever it is, is not the user's
            record(hook.__qualname__, error)
            return None

    return cast(F, call)


def record(where: str, error: BaseException) -> None:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    line = place.tb_lineno if place is not None else 0
    faults.setdefault(where, f"{type(error).__name__}: {error} (line {line})")
