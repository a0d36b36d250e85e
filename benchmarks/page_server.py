"""A Server Manager with its pages and without its workers, as a process: ``page_server.py HOME``.

The port is its first line.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from fedops.server.app import create_app, front
from fedops.server.http_server import serve
from fedops.settings import ServerSettings
from fedops.testing import FakeEngines


def main() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)  # from now on nobody is refused
        port = listener.getsockname()[1]
        settings = ServerSettings(home=Path(sys.argv[1]), port=port)
        app = create_app(settings, FakeEngines(), workers=False, dashboard=True)
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        serve(front(app), listener, 128, name="Server Manager")


if __name__ == "__main__":
    main()
