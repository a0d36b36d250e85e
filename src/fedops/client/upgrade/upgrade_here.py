"""``python -m fedops.client.upgrade.upgrade_here HOME``: the upgrade as the Client Manager has it done.

Prints one JSON document: ``before`` and ``now``, or ``message``. The Client Manager starts what is new.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from fedops.client.upgrade.upgrade import upgrade
from fedops.core.errors import FedOpsError
from fedops.settings import client_settings


def main(home: str) -> int:
    """The exit code. SIGTERM puts the release before back."""
    signal.signal(signal.SIGTERM, _end)
    try:
        done = upgrade(client_settings(home=Path(home)), restart=False)
    except FedOpsError as error:
        _say({"message": error.message})
        return error.exit_code
    _say({"before": done.before, "now": done.now})
    return 0


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
