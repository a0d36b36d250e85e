"""What others must hear of once a change is durable: collected in a transaction, sent after its commit.

Use cases call ``tell``; ``db.Database.write`` sends; the composition root connects who listens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

_KEY = "fedops.notices"


@dataclass(frozen=True)
class DeviceChanged:
    """What the server wants of a device may have changed."""

    device_id: str


@dataclass(frozen=True)
class DeviceGone:
    """A device went offline, was revoked, or left: nothing more will come from it."""

    device_id: str
    name: str
    node_id: str | None
    #: The live attempts that may wait for it.
    attempt_ids: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class AttemptSignal:
    """The engine of an attempt must hear this."""

    attempt_id: int
    kind: Literal["uploaded", "hello", "gone", "command"]
    device: str | None = None
    text: str = ""


@dataclass(frozen=True)
class AttemptOver:
    """An attempt is not live any more: free what it holds."""

    attempt_id: int
    run_id: int


@dataclass(frozen=True)
class WorkForScheduler:
    """There is something to submit, to register or to end."""


Notice = DeviceChanged | DeviceGone | AttemptSignal | AttemptOver | WorkForScheduler
Listener = Callable[[Notice], None]


def tell(session: Session, *notices: Notice) -> None:
    """Send these when (and only when) the transaction of ``session`` is committed."""
    pending = session.info.setdefault(_KEY, {})
    pending.update(dict.fromkeys(notices))


def take(session: Session) -> list[Notice]:
    """What was told, each once, in order; the session then holds nothing more."""
    return list(session.info.pop(_KEY, {}))
