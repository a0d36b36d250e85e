"""When the server's disk does not take what the engine writes: it says so, and waits until it does."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from fedops.core.contracts import CollectRequest
from fedops.core.reasons.shortages import Lack, Shortage, lack_of
from fedops.engine.link.exit_reasons import heed
from fedops.engine.link.server_link import ServerLink
from fedops.storage.disk import is_full
from fedops.storage.shortages import shortage_of, try_folder

logger = logging.getLogger("fedops.engine")
#: Beside twice the largest of our files. Bytes.
_LEAST = 1 << 20
_LOOK_SECONDS = 1.0
_CLOSED = (Lack.WRITABLE_DISK, Lack.PERMISSION)


def may_pass(error: BaseException, folder: Path) -> bool:
    """Whether the disk of the engine's folder is full or closed. An app's own files are the app's."""
    if not isinstance(error, OSError):
        return False
    return is_full(error) or (lack_of(error) in _CLOSED and _is_within(error.filename, folder))


def _is_within(name: object, folder: Path) -> bool:
    return isinstance(name, str) and Path(name).absolute().is_relative_to(folder.absolute())


def await_room(error: OSError, folder: Path, link: ServerLink) -> Shortage:
    """Return what was missing, when the disk takes what is usually written there.

    Raises:
        StopRequested: the run is stopped or paused.
        AttemptSuperseded, Unavailable: see ``ServerLink.ask``.
    """
    shortage = shortage_of(error, folder) or Shortage(Lack.DISK, str(folder))
    logger.warning("%s", shortage.text())
    link.tell_shortage(shortage.text())
    while not _has_room(folder):
        time.sleep(_LOOK_SECONDS)
        heed(link.ask(lambda api: api.collect(CollectRequest(wait=0.0))).command)
    return shortage


def _has_room(folder: Path) -> bool:
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    room = shutil.disk_usage(folder).free > _LEAST + 2 * max(sizes, default=0)
    return room and try_folder(folder) is None
