"""One port for TLS and plain HTTP: who gets which, and who is hung up on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fedops.server.tls import one_port
from fedops.server.tls.certificates import Certificates
from fedops.server.tls.one_port import OnePort, Opening, Watch

NAMES = frozenset({"localhost", "127.0.0.1"})


class Says(asyncio.Protocol):
    """Answers each line with a word of its own, and what it heard."""

    def __init__(self, word: bytes) -> None:
        self._word = word

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(self._word + b" " + data)


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    made = Certificates(tmp_path / "tls", lambda: NAMES)
    made.ensure()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.server_file)
    return server, ssl.create_default_context(cafile=str(made.ca_file))


Play = Callable[[int], Awaitable[None]]


def unwatched(_: str, __: Opening) -> Callable[[], None]:
    return lambda: None


def play(context: ssl.SSLContext, script: Play, watch: Watch = unwatched) -> OnePort:
    """Play a script against an open port; everything is over at the end."""

    async def whole() -> OnePort:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            door = OnePort(
                listener, context, lambda: Says(b"secure"), lambda: Says(b"plain"), watch
            )
            await script(listener.getsockname()[1])
            door.close()
            await door.wait_closed()
            return door

    return asyncio.run(asyncio.wait_for(whole(), 20.0))


async def said(port: int, text: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(text)
    answer = await reader.readline()
    writer.close()
    return answer


def test_the_first_byte_decides(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts

    async def script(port: int) -> None:
        both = await asyncio.gather(
            *(said(port, b"%d\n" % number, client) for number in range(20)),
            *(said(port, b"%d\n" % number) for number in range(20)),
        )
        assert both == [
            b"%s %d\n" % (word, number) for word in (b"secure", b"plain") for number in range(20)
        ]

    play(server, script)


@pytest.mark.parametrize("text", [b"", b"\x16\x03\x01\x00\x05hello", b"\x16"])
def test_who_says_nothing_or_no_tls_is_hung_up_on_and_holds_nobody_up(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = contexts
    monkeypatch.setattr(one_port, "FIRST_BYTE_SECONDS", 0.3)
    monkeypatch.setattr(one_port, "HANDSHAKE_SECONDS", 0.3)

    async def script(port: int) -> None:
        strange = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        for _, writer in strange:
            writer.write(text)
        begin = time.monotonic()
        assert await said(port, b"x\n", client) == b"secure x\n"
        assert time.monotonic() - begin < 0.25
        for reader, writer in strange:
            with contextlib.suppress(ConnectionError):  # reset: what it said was not read
                await reader.read()
            writer.close()

    play(server, script)


def test_who_has_not_said_anything_does_not_hold_up_the_end(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, _ = contexts
    begin = time.monotonic()
    with socket.socket() as silent:

        async def script(port: int) -> None:
            silent.connect(("127.0.0.1", port))
            assert await said(port, b"x\n") == b"plain x\n"  # who came after it was let in

        play(server, script)
        assert silent.recv(1) == b""
    assert time.monotonic() - begin < one_port.FIRST_BYTE_SECONDS / 2


@pytest.mark.parametrize("text", [b"", b"\x16\x03\x01"])
def test_who_is_not_in_yet_is_watched_and_can_be_hung_up_on(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], text: bytes
) -> None:
    server, client = contexts
    opening: dict[Opening, str] = {}

    def watch(address: str, one: Opening) -> Callable[[], None]:
        opening[one] = address

        def over() -> None:
            del opening[one]

        return over

    async def script(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text)
        assert await said(port, b"x\n", client) == b"secure x\n"
        (one,) = opening  # who is in is watched by others
        assert opening[one] == "127.0.0.1"
        assert not one.is_closing()
        one.abort()
        with contextlib.suppress(ConnectionError):  # reset: what it said was not read
            assert await reader.read() == b""
        assert not opening
        writer.close()

    play(server, script, watch)
