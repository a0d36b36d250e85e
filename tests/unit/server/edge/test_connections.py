"""Which connections end, and which stay."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.server.edge.connections import Connection, ConnectionBook, Limits, Phase

LIMITS = Limits(strangers=3, most_strangers=5, of_one=2, all=8)


@dataclass
class FakeLine:
    waiting: int = 0
    closing: bool = False
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.waiting


def opened(
    book: ConnectionBook, address: str = "192.0.2.1", now: float = 0.0
) -> tuple[Connection, FakeLine]:
    line = FakeLine()
    return book.open(address, line, now), line


def test_of_one_address_the_oldest_goes_when_it_had_its_time() -> None:
    book = ConnectionBook(LIMITS)
    lines = [opened(book)[1] for _ in range(3)]
    lines.append(opened(book, now=1.0)[1])  # all are young: a thousand devices may come at once
    assert not any(line.aborted for line in lines)
    lines.append(opened(book, now=LIMITS.stranger_seconds)[1])
    assert [line.aborted for line in lines] == [True, False, False, False, False]


def test_beyond_the_most_the_oldest_goes_at_once() -> None:
    book = ConnectionBook(LIMITS)
    lines = [opened(book)[1] for _ in range(6)]
    assert [line.aborted for line in lines] == [True, *[False] * 5]
    assert len(book) == 5


def test_who_signed_in_is_not_counted_by_address() -> None:
    book = ConnectionBook(LIMITS)
    found = [opened(book) for _ in range(3)]
    assert all(book.signed_in(one, f"device-{n}") for n, (one, _) in enumerate(found))
    more = [opened(book, now=100.0) for _ in range(3)]
    assert not any(line.aborted for _, line in found + more)


def test_one_credential_has_so_many_connections() -> None:
    book = ConnectionBook(LIMITS)
    first, second, third = (opened(book)[0] for _ in range(3))
    assert book.signed_in(first, "a")
    assert book.signed_in(first, "a")
    assert book.signed_in(second, "a")
    assert not book.signed_in(third, "a")
    assert book.signed_in(third, "b")
    book.close(first)
    assert book.signed_in(opened(book)[0], "a")


def test_who_shows_no_credential_any_more_is_nobody_again() -> None:
    book = ConnectionBook(LIMITS)
    one, _ = opened(book)
    book.signed_in(one, "a")
    one.phase = Phase.ANSWER
    book.signed_out(one)
    assert (book.busy(), book.of("a")) == (set(), [])
    lines = [opened(book, now=LIMITS.stranger_seconds)[1] for _ in range(3)]
    assert one.line.aborted  # type: ignore[attr-defined]
    assert not any(line.aborted for line in lines)
    book.signed_in(one, "a")
    book.close(one)
    book.signed_out(one)
    assert len(book) == 3


def test_the_address_with_the_most_makes_room_when_all_are_too_many() -> None:
    book = ConnectionBook(Limits(strangers=9, most_strangers=9, all=3))
    lines = [
        opened(book, address)[1]
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1", "192.0.2.3")
    ]
    assert [line.aborted for line in lines] == [True, True, False, False, False]


def test_connections_of_a_proxy_are_of_many_callers() -> None:
    book = ConnectionBook(LIMITS, ["192.0.2.0/24"])
    found = [opened(book, now=float(n)) for n in range(20)]
    assert not any(line.aborted for _, line in found)
    assert all(book.signed_in(one, "a") for one, _ in found)


def test_a_head_has_its_time() -> None:
    book = ConnectionBook(LIMITS)
    _, line = opened(book)
    book.sweep(LIMITS.head_seconds)
    assert not line.aborted
    book.sweep(LIMITS.head_seconds + 0.1)
    assert line.aborted


def test_who_waits_for_an_answer_may_wait() -> None:
    book = ConnectionBook(LIMITS)
    one, line = opened(book)
    one.phase = Phase.ANSWER
    book.sweep(1e6)
    assert not line.aborted


def test_a_body_must_go_on() -> None:
    book = ConnectionBook(LIMITS)
    (slow, slow_line), (fast, fast_line) = opened(book), opened(book)
    (stranger, stranger_line), (held, held_line) = opened(book), opened(book)
    for one in (slow, fast, stranger, held):
        one.phase = Phase.BODY
    for one, name in ((slow, "a"), (fast, "b"), (held, "c")):
        assert book.signed_in(one, name)
    held.paused = lambda: True  # by us: it cannot send
    slow.came, fast.came = LIMITS.window_bytes - 1, LIMITS.window_bytes
    book.sweep(LIMITS.stranger_body_seconds + 0.1)
    assert stranger_line.aborted
    assert not slow_line.aborted
    book.sweep(LIMITS.window_seconds + 0.1)
    assert (slow_line.aborted, fast_line.aborted, held_line.aborted) == (True, False, False)
    book.sweep(2 * (LIMITS.window_seconds + 0.1))  # nothing came in the second window
    assert (fast_line.aborted, held_line.aborted) == (True, False)


def test_who_takes_nothing_of_an_answer_is_cut_off() -> None:
    book = ConnectionBook(LIMITS)
    (one, line), (other, other_line) = opened(book), opened(book)
    one.phase = other.phase = Phase.ANSWER
    line.waiting = other_line.waiting = 1_000
    book.sweep(0.0)
    other_line.waiting = 900
    book.sweep(LIMITS.unread_seconds)
    book.sweep(LIMITS.unread_seconds + 1.0)
    assert (line.aborted, other_line.aborted) == (True, False)


def test_the_end_of_a_websocket_is_noticed() -> None:
    book = ConnectionBook(LIMITS)
    one, line = opened(book)
    one.phase = Phase.UPGRADED
    book.sweep(1e6)
    assert len(book) == 1
    line.closing = True
    book.sweep(1e6)
    assert len(book) == 0
