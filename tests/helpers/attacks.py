"""What an attacker sends, by hand: raw sockets from an address of loopback that is not the others'."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

#: Where attackers call from: whoever is limited by its address is not who calls from 127.0.0.1.
FROM = "127.0.0.66"
_PIECE = b"x" * (64 << 10)


def head(method: str, path: str, **headers: object) -> bytes:
    """A request up to its body. ``_`` in a header's name stands for ``-``."""
    given = {"host": "127.0.0.1", **{name.replace("_", "-"): v for name, v in headers.items()}}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextmanager
def line_to(port: int, source: str = FROM, seconds: float = 20.0) -> Iterator[socket.socket]:
    """A connection that sends nothing by itself."""
    address = ("127.0.0.1", port)
    with socket.create_connection(address, seconds, source_address=(source, 0)) as line:
        yield line


def status_of(answer: bytes) -> int | None:
    """The status of an HTTP answer; None: there was none."""
    first = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(first[1]) if len(first) > 1 and first[0].startswith(b"HTTP/") else None


def heard(line: socket.socket) -> bytes:
    """All that comes until the other side closes, or the end of one answer's head and body."""
    data = b""
    with contextlib.suppress(OSError):
        while block := line.recv(1 << 16):
            data += block
            before, found, body = data.partition(b"\r\n\r\n")
            if found and len(body) >= _length(before):
                break
    return data


def _length(before: bytes) -> int:
    for one in before.split(b"\r\n"):
        name, _, value = one.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def pour(line: socket.socket, size: int) -> int:
    """Send so many bytes of a body, or as many as are taken. Returns how many those were."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < size:
            sent += line.send(_PIECE[: size - sent])
    return sent


def pour_chunks(line: socket.socket, size: int) -> int:
    """The same in chunks, whose end nobody knows."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < size:
            line.sendall(b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE))
            sent += len(_PIECE)
    return sent


def trickle(line: socket.socket, piece: bytes, every: float, most: float) -> float:
    """Send a piece again and again until the other side ends it; how long that took, ``most`` at most."""
    begin = time.monotonic()
    line.settimeout(every)
    while (lasted := time.monotonic() - begin) < most:
        try:
            line.send(piece)
            if not line.recv(1 << 16):
                return lasted
        except TimeoutError:
            continue
        except OSError:
            return lasted
    return lasted


# --- many at once ------------------------------------------------------------------------------


async def crowd(
    port: int, count: int, seconds: float, *, first: bytes = b"", each: bytes = b""
) -> Mapping[str, int]:
    """``count`` connections held for a while: ``first`` is sent at once, ``each`` every second.

    How many came in, and how many of those the server ended.
    """
    told = {"opened": 0, "ended": 0}
    until = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(_one(port, until, first, each, told) for _ in range(count)))
    return told


async def _one(port: int, until: float, first: bytes, each: bytes, told: dict[str, int]) -> None:
    clock = asyncio.get_running_loop().time
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(FROM, 0))
    except OSError:
        return
    told["opened"] += 1
    try:
        writer.write(first)
        while clock() < until:
            with contextlib.suppress(TimeoutError):
                if not await asyncio.wait_for(reader.read(1 << 12), min(1.0, until - clock())):
                    told["ended"] += 1
                    return
            writer.write(each)
            await writer.drain()
    except OSError:
        told["ended"] += 1
    finally:
        writer.transport.abort()
