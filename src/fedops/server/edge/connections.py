"""The open connections of a process: how many there are, of whom, and how long each may take.

Whoever has not shown a credential yet is counted by address, and makes room for those who come later; with a
credential it is counted by that, because a hospital is one address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Protocol

from fedops.server.protocol.parties import party_of

#: Under this key the connection of a request lies in its ASGI scope's ``state``.
SCOPE_KEY = "fedops.connection"


class Phase(Enum):
    """What a connection is doing."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    #: It is a WebSocket, which has a heartbeat of its own.
    UPGRADED = "upgraded"


@dataclass(frozen=True)
class Limits:
    """Seconds, bytes, and numbers of connections."""

    #: From the first byte (or the connection) to the end of the headers.
    head_seconds: float = 20.0
    head_bytes: int = 64 << 10
    #: The whole body, of who shows no credential.
    stranger_body_seconds: float = 20.0
    #: With a credential: in each window so many bytes at least.
    window_seconds: float = 60.0
    window_bytes: int = 1_024
    #: Who takes nothing of an answer for so long is cut off.
    unread_seconds: float = 60.0
    #: Connections of one address that have shown no credential. One beyond that ends the oldest, if it had
    #: the time to show one; beyond ``most_strangers`` at once.
    strangers: int = 256
    most_strangers: int = 2_048
    stranger_seconds: float = 5.0
    #: Connections of one credential.
    of_one: int = 128
    #: Of all together; beyond, the oldest without a credential ends.
    all: int = 12_000


class Line(Protocol):
    """The transport of a connection."""

    def abort(self) -> None: ...

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...


@dataclass(eq=False)
class Connection:
    """One connection. Only the event loop touches it."""

    #: Whose it is, before it shows a credential.
    party: str
    line: Line
    opened: float
    #: Whether we have stopped reading, so that it cannot send.
    paused: Callable[[], bool] = lambda: False
    #: Its requests are of many callers.
    of_proxy: bool = False
    phase: Phase = Phase.HEAD
    since: float = 0.0
    came: int = 0
    #: Whose credential it showed last.
    who: str | None = None
    #: Since when the far side has taken nothing of what we wrote, and how much that was.
    unread: tuple[float, int] | None = None
    #: Since when it is ending.
    closing: float | None = None


@dataclass
class Ended:
    """How many connections were ended, by why."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class ConnectionBook:
    """All connections of a process. ``proxies``: addresses and networks whose connections are not counted."""

    def __init__(self, limits: Limits | None = None, proxies: Iterable[str] = ()) -> None:
        self.limits = limits or Limits()
        self.ended = Ended()
        self._proxies = [ip_network(one, strict=False) for one in proxies]
        self._all: dict[Connection, None] = {}
        self._strangers: dict[str, dict[Connection, None]] = defaultdict(dict)
        self._known: dict[str, dict[Connection, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._all)

    def open(self, address: str, line: Line, now: float) -> Connection:
        """A connection has come in. An older one may have to go for it."""
        party = party_of(address)
        made = Connection(party, line, now, since=now, of_proxy=self._is_proxy(address))
        self._all[made] = None
        if not made.of_proxy:
            self._strangers[party][made] = None
            self._make_room(party, now)
        return made

    def close(self, connection: Connection) -> None:
        """It is over. Repeating is harmless."""
        self._all.pop(connection, None)
        _remove(self._strangers, connection.party, connection)
        if connection.who is not None:
            _remove(self._known, connection.who, connection)

    def signed_in(self, connection: Connection, who: str) -> bool:
        """It has shown the credential of ``who``. False: that one has too many connections already."""
        if connection.who == who:
            return True
        if connection.of_proxy:
            connection.who = who
            return True
        if len(self._known.get(who, ())) >= self.limits.of_one:
            return False
        _remove(self._strangers, connection.party, connection)
        if connection.who is not None:
            _remove(self._known, connection.who, connection)
        connection.who = who
        self._known[who][connection] = None
        return True

    def signed_out(self, connection: Connection) -> None:
        """Its request shows no valid credential: nothing is under way for who came before."""
        if connection.who is None or connection not in self._all:
            return
        _remove(self._known, connection.who, connection)
        connection.who = None
        if not connection.of_proxy:
            self._strangers[connection.party][connection] = None

    def of(self, who: str) -> list[Connection]:
        """The connections whose last request was of ``who``."""
        return [one for one in self._all if one.who == who]

    def busy(self) -> set[str]:
        """Of whom there are connections with a request under way."""
        at_it = (Phase.BODY, Phase.ANSWER)
        return {one.who for one in self._all if one.who is not None and one.phase in at_it}

    def end(self, connection: Connection, why: str) -> None:
        """Cut it off at once."""
        self.ended.counts[why] += 1
        self.close(connection)
        connection.line.abort()

    def sweep(self, now: float) -> None:
        """End what has taken too long. Called about once a second."""
        for one in list(self._all):
            if one.line.is_closing():
                self._let_close(one, now)
            elif why := self._overdue(one, now):
                self.end(one, why)

    def _let_close(self, one: Connection, now: float) -> None:
        """It ends by itself once the last bytes are gone; nobody tells us of the end of a WebSocket."""
        if one.phase is Phase.UPGRADED:
            self.close(one)
        elif one.closing is None:
            one.closing = now
        elif now - one.closing > self.limits.unread_seconds:
            self.end(one, "unread")

    # --- how long ------------------------------------------------------------------------------

    def _overdue(self, one: Connection, now: float) -> str:
        """Why it is to end, if it is."""
        limits, age = self.limits, now - one.since
        if self._is_unread(one, now):
            return "unread"
        match one.phase:
            case Phase.HEAD if age > limits.head_seconds:
                return "slow head"
            case Phase.BODY if one.paused():
                one.since, one.came = now, 0
            case Phase.BODY if one.who is None and age > limits.stranger_body_seconds:
                return "slow body"
            case Phase.BODY if age > limits.window_seconds:
                if one.came < limits.window_bytes:
                    return "slow body"
                one.since, one.came = now, 0
        return ""

    def _is_unread(self, one: Connection, now: float) -> bool:
        waiting = one.line.get_write_buffer_size()
        if waiting == 0:
            one.unread = None
        elif one.unread is None or one.unread[1] != waiting:
            one.unread = (now, waiting)
        return one.unread is not None and now - one.unread[0] > self.limits.unread_seconds

    # --- how many ------------------------------------------------------------------------------

    def _make_room(self, party: str, now: float) -> None:
        strangers, limits = self._strangers[party], self.limits
        oldest = next(iter(strangers))
        aged = now - oldest.opened >= limits.stranger_seconds
        many = len(strangers)
        if many > limits.most_strangers or (many > limits.strangers and aged):
            self.end(oldest, "too many of one address")
        elif len(self._all) > limits.all:
            most = max(self._strangers.values(), key=len)
            self.end(next(iter(most)), "too many")

    def _is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            found = ip_address(address)
        except ValueError:  # a socket of this machine's file system
            return False
        return any(found in network for network in self._proxies)


def _remove(groups: dict[str, dict[Connection, None]], key: str, connection: Connection) -> None:
    group = groups.get(key)
    if group is not None:
        group.pop(connection, None)
        if not group:
            del groups[key]
