"""An HTTP proxy and a SOCKS5 proxy on loopback, which count who came."""

from __future__ import annotations

import re
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit


class _Proxy(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        #: Where each connection went.
        self.targets: list[str] = []


class _Http(socketserver.BaseRequestHandler):
    """One request a connection."""

    def handle(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (block := self.request.recv(1 << 16)):
                return
            data += block
        head, _, rest = data.partition(b"\r\n\r\n")
        method, url, version = head.split(b"\r\n", 1)[0].split()
        parts = urlsplit(url.decode())
        self.server.targets.append(parts.netloc)  # type: ignore[attr-defined]
        path = url.decode().partition(parts.netloc)[2] or "/"
        lines = head.split(b"\r\n")[1:]
        kept = [line for line in lines if not re.match(rb"(?i)(proxy-)?connection:", line)]
        first = b" ".join((method, path.encode(), version))
        sent = b"\r\n".join([first, *kept, b"Connection: close"]) + b"\r\n\r\n" + rest
        with closing(socket.create_connection((parts.hostname or "", parts.port or 80))) as far:
            far.sendall(sent)
            _pump(self.request, far)


class _Socks5(socketserver.BaseRequestHandler):
    """Without authentication, for IPv4 addresses and names."""

    def handle(self) -> None:
        _, count = self.request.recv(2)
        self.request.recv(count)
        self.request.sendall(b"\x05\x00")
        *_, kind = self.request.recv(4)
        if kind == 1:
            host = socket.inet_ntoa(self.request.recv(4))
        else:
            host = self.request.recv(self.request.recv(1)[0]).decode()
        (port,) = struct.unpack("!H", self.request.recv(2))
        self.server.targets.append(f"{host}:{port}")  # type: ignore[attr-defined]
        with closing(socket.create_connection((host, port))) as far:
            self.request.sendall(b"\x05\x00\x00\x01" + bytes(6))
            _pump(self.request, far)


def _pump(near: socket.socket, far: socket.socket) -> None:
    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

    up = threading.Thread(target=copy, args=(near, far), daemon=True)
    up.start()
    copy(far, near)


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[_Proxy]:
    with _Proxy(handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


@contextmanager
def http_proxy() -> Iterator[tuple[str, list[str]]]:
    """Its URL, and where its connections went."""
    with _serving(_Http) as proxy:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", proxy.targets


@contextmanager
def socks_proxy() -> Iterator[tuple[str, list[str]]]:
    """The same as SOCKS5."""
    with _serving(_Socks5) as proxy:
        yield f"socks5://127.0.0.1:{proxy.server_address[1]}", proxy.targets
