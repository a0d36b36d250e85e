"""An ASGI app on a free loopback port, in a thread of the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def serving(app: Any, lifespan: str = "on", port: int = 0) -> Iterator[int]:
    """Serve ``app``; gives its port (0: any free one)."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        config = uvicorn.Config(
            app, lifespan=lifespan, ws="none", log_level="warning", timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        up = threading.Event()
        startup = server.startup

        async def started(**kwargs: Any) -> None:
            await startup(**kwargs)
            up.set()

        server.startup = started  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert up.wait(10)
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(10)
