"""What a process is asked that tries an app on the server, and what holds before it imports the app."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from fedops.core.contracts.confinement import Confinement
from fedops.platforms.processes import lower_priority
from fedops.processes.confining import confine
from fedops.processes.spawn import die_with_parent

#: How much lower its priority is than the Server Manager's.
NICE = 10


def read_question(file: str) -> dict[str, Any]:
    """What the file asks for. From now on this process is confined as it says, and ends with its parent."""
    asked: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    held = asked.get("confinement")
    said = confine(Confinement.model_validate(held) if held else None)
    die_with_parent()
    lower_priority(NICE)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    logging.info("%s", said)
    sys.argv = sys.argv[:1]  # an app that reads its command line when imported finds it empty
    return asked
