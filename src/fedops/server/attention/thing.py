"""One thing that needs somebody: how soon, why, and what to press or type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import quote

#: Of these tasks alone. None: of all.
Within = frozenset[str] | None
DAY = 86_400.0


class Severity(IntEnum):
    """How soon. The first comes first."""

    NOW = 0
    SOON = 1


@dataclass(frozen=True)
class Action:
    """What one can do about it: a page, and the command that does the same where there is one."""

    #: On its button: "Stop run 7".
    word: str
    page: str
    command: str = ""
    #: The route of the page's form, for who may use it. "": the page only shows something.
    route: str = ""


@dataclass(frozen=True)
class Attention:
    """A thing, or many of the same kind, that need somebody."""

    #: What it is about, the same as long as it lasts: ``run 7``, ``devices lost``.
    key: str
    severity: Severity
    #: A whole sentence, without its end.
    sentence: str
    #: POSIX seconds.
    since: float
    #: When it ends badly by itself. POSIX seconds.
    deadline: float | None = None
    actions: tuple[Action, ...] = ()


def in_order(things: Iterable[Attention]) -> list[Attention]:
    """What is urgent first; then what ends soonest; then the newest."""
    never = float("inf")
    return sorted(things, key=lambda one: (one.severity, one.deadline or never, -one.since))


def page_of(kind: str, name: object) -> str:
    """``/tasks/mnist``. The name may hold anything."""
    return f"/{kind}/{quote(str(name), safe='')}"
