"""What is collected in a transaction and handed on once it is committed; lost with it if it is not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from sqlalchemy.orm import Session

_KEY = "fedops.after_commit"

#: Is handed each notice, after the commit.
Listener = Callable[[Any], None]
#: Tells other processes, within the transaction: they hear it when (and only when) it is committed.
Publisher = Callable[[Session, Sequence[Any]], None]


def collect(session: Session, notices: Iterable[Hashable]) -> None:
    """Hand these on when (and only when) the transaction of ``session`` is committed."""
    session.info.setdefault(_KEY, {}).update(dict.fromkeys(notices))


def take(session: Session) -> list[Any]:
    """What was collected, each once, in order; the session then holds nothing more."""
    return list(session.info.pop(_KEY, {}))
