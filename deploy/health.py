"""The health check of both images: ``python3 health.py server`` or ``device``. Exit code 0: it is well.

It runs every half minute, on small machines too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 4.0


def main(role: str) -> int:
    """Say in one line how the program of this container is."""
    try:
        line = {"server": server_health, "device": device_health}[role]()
    except (OSError, ValueError, KeyError) as error:  # it does not answer, or not yet
        sys.stdout.write(f"no answer: {error}\n")
        return 1
    sys.stdout.write(f"{line}\n")
    return 1 if line.startswith("given up") else 0


def server_health() -> str:
    """The Server Manager answers."""
    port = os.environ.get("FEDOPS_SERVER_PORT") or "8600"
    return f"answers: {get(f'http://127.0.0.1:{port}/health')}"


def device_health() -> str:
    """The Client Manager answers, and its training client was not given up.

    A server that is out of reach makes no device ill: it goes on by itself.
    """
    home = Path(os.environ.get("FEDOPS_CLIENT_HOME") or "~/.fedops/client").expanduser()
    where = json.loads((home / "local-api.json").read_text())["url"]
    status = get(f"{where}/status", (home / "local-token").read_text().strip())
    state, why = status["process"]["status"], status["why"]
    return f"given up: {why}" if state == "fatal" else f"{state}: {why}"


def get(url: str, token: str = "") -> Any:
    """The JSON that a program in this container answers; never through a proxy."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=SECONDS) as reply:
        return json.load(reply)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
