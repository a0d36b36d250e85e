"""The network between a device and the server: a TCP proxy that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Passes connections on to a port of loopback until it is cut."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset all connections, and every new one, until ``mend``."""
        with self._lock:
            self._is_cut, open_ = True, list(self._open)
        for connection in open_:
            _reset(connection)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
                far.settimeout(None)
            except OSError:
                _reset(near)
                continue
            with self._lock:
                self._open |= {near, far}
                cut = self._is_cut
            if cut:
                _reset(near)
                _reset(far)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                sink.sendall(block)
        for connection in (source, sink):
            _reset(connection)
            self._open.discard(connection)


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
