"""One look at a page: what its data are read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from fedops.server.access import permissions, rules
from fedops.server.access.principal import Principal
from fedops.server.database.database import ReadSession
from fedops.server.services.services import Services

T = TypeVar("T")


@dataclass
class View:
    """One look at a page: for whom, of what, at which moment. All is read from one state of the database."""

    services: Services
    session: ReadSession
    who: Principal
    #: What the path names, such as ``run_id``.
    path: Mapping[str, str]
    #: What the address says behind its question mark: filters, the tab.
    query: Mapping[str, str]
    #: POSIX seconds on the server's clock.
    now: float
    _read: dict[str, Any] = field(default_factory=dict)

    @property
    def tasks(self) -> frozenset[str] | None:
        """The only tasks that this user is told of. None: all."""
        return self.who.tasks

    def once(self, name: str, read: Callable[[], T]) -> T:
        """What several panels show, read once for all of them."""
        if name not in self._read:
            self._read[name] = read()
        return cast(T, self._read[name])

    def may(self, route: str) -> bool:
        """Whether this user may call a route of the pages, such as ``POST /runs/{run_id}/stop``."""
        method, path = route.split(" ")
        return rules.is_allowed(self.who, permissions.rule_of(method, path))


def whole_number(text: str) -> int | None:
    """A number that an address names; None for what is none that an id can be."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
