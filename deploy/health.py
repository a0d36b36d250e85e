"""The health check of both images: ``python3 health.py server`` or ``device``. Exit code 0: it is well.

It runs every half minute, on small machines too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import ssl
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
    """The Server Manager answers, where it said at its start that it can be reached from here."""
    home = Path(os.environ.get("FEDOPS_SERVER_HOME") or "~/.fedops/server").expanduser()
    return f"answers: {get((home / 'local-url').read_text().strip() + '/health')}"


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
    """The JSON that a program in this container answers; never through a proxy.

    Its certificate may be for other names, and nothing secret is sent by TLS: it is not checked.
    """
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anybody)
    )
    with opener.open(request, timeout=SECONDS) as reply:
        return json.load(reply)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
