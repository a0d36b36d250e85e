"""A Server Manager with its pages and without its workers, as a process: ``page_server.py HOME``.

The port is its first line.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvicorn

from fedops.server.app import create_app, front
from fedops.settings import ServerSettings
from fedops.testing import FakeEngines


def main() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)  # from now on nobody is refused
        port = listener.getsockname()[1]
        settings = ServerSettings(home=Path(sys.argv[1]), port=port)
        app = create_app(settings, FakeEngines(), workers=False, dashboard=True)
        config = uvicorn.Config(
            front(app), log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=2
        )
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
