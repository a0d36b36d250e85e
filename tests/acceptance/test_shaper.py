"""The shaped link that other tests and the benchmarks rely on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from shaper import Shaper


@pytest.fixture
def sink() -> Iterator[tuple[int, list[int]]]:
    """A server that reads to the end and answers with ten bytes; how much came in each connection."""
    received: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=read, args=(connection,), daemon=True).start()

    def read(connection: socket.socket) -> None:
        count = 0
        with closing(connection):
            try:
                while block := connection.recv(1 << 16):
                    count += len(block)
                connection.sendall(b"0123456789")
            except OSError:
                pass
            received.append(count)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], received
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def send(port: int, count: int) -> tuple[float, bytes]:
    """Send bytes, wait for the answer: seconds, and what was answered."""
    begin = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(bytes(count))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while block := connection.recv(100):
            answer += block
    return time.monotonic() - begin, answer


def test_a_rate_and_a_distance_take_their_time(sink):
    port, received = sink
    with Shaper(port, rate=8e6, round_trip=0.2) as link:
        seconds, answer = send(link.port, 1_000_000)
    assert answer == b"0123456789"
    assert received == [1_000_000]
    assert (
        1.3 < seconds < 2.5
    )  # one second for the bytes, one round trip to connect, one for the answer
    assert (link.up, link.down, link.cuts) == (1_000_000, 10, 0)


def test_it_cuts_at_the_bytes_that_were_named(sink):
    port, received = sink
    with Shaper(port) as link:
        link.cut_after(123_456, 300_000)
        for _ in range(2):
            with pytest.raises(OSError):
                send(link.port, 5_000_000)
        assert send(link.port, 100)[1] == b"0123456789"  # as often as was asked
    assert received == [123_456, 300_000, 100]
    assert link.cuts == 2


def test_random_cuts_are_the_same_for_the_same_seed(sink):
    port, _ = sink
    passed = []
    for _ in range(2):
        with Shaper(port, cut_bytes=(1_000, 50_000), seed=7) as link:
            for _ in range(3):
                with pytest.raises(OSError):
                    send(link.port, 5_000_000)
            passed.append([one.up for one in link.connections])
    assert passed[0] == passed[1]


def test_a_frozen_link_stays_open_and_passes_nothing(sink):
    port, received = sink
    with Shaper(port) as link:
        link.freeze()
        waiting = threading.Thread(target=send, args=(link.port, 1_000))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        assert received == []
        link.mend()
        waiting.join(5.0)
        assert received == [1_000]


def test_a_link_that_is_cut_refuses_until_it_is_mended(sink):
    port, _ = sink
    with Shaper(port) as link:
        link.cut()
        with pytest.raises(OSError):
            send(link.port, 5_000_000)
        link.mend()
        assert send(link.port, 10)[1] == b"0123456789"
