"""When the server's disk has no room for what the engine writes: it says so, and waits for some."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from fedops.core.contracts import CollectRequest
from fedops.engine.link.exit_reasons import heed
from fedops.engine.link.server_link import ServerLink

logger = logging.getLogger("fedops.engine")
#: Beside twice the largest of our files. Bytes.
_LEAST = 1 << 20
_LOOK_SECONDS = 1.0


def await_room(folder: Path, link: ServerLink) -> None:
    """Return when the disk of a folder has room for what is usually written there.

    Raises:
        StopRequested: the run is stopped or paused.
        AttemptSuperseded, Unavailable: see ``ServerLink.ask``.
    """
    logger.warning("the server's disk is full (%s): the round goes on when there is room", folder)
    link.tell_full(str(folder))
    while not _has_room(folder):
        time.sleep(_LOOK_SECONDS)
        heed(link.ask(lambda api: api.collect(CollectRequest(wait=0.0))).command)


def _has_room(folder: Path) -> bool:
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return shutil.disk_usage(folder).free > _LEAST + 2 * max(sizes, default=0)
