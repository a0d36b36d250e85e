"""Trainings that are not done yet, on disk: after each local epoch, so that no more than one is repeated.

A file is whole or not there, carries its own digest in its name, and belongs to one piece of work; the one
before stays until the next is written. Two processes tidy up here, the training client and the Client
Manager: a file or folder that is gone already is no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import threading
from pathlib import Path

from fedops.core.errors import Invalid
from fedops.failpoints import reached
from fedops.scalize.adapter.protocol import TrainingState
from fedops.storage.atomic_files import sha256_of, write_atomic
from fedops.storage.tensors import TensorFile, load, pack

logger = logging.getLogger("fedops.training")

#: Kept of one piece of work: what a power cut takes of the newest, the one before makes good.
VERSIONS = 2
#: Pieces of work that are kept, should nobody ever ask for them again.
WORKS = 4
_METADATA = "fedops"
_NAME = re.compile(r"(\d{6})-([0-9a-f]{16})\.safetensors")


class EpochFiles:
    """An ``EpochStore`` in a folder, with one training at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._open: _Checkpoints | None = None

    def open(self, work_key: str, about: str) -> _Checkpoints | None:
        """Of one piece of work. None: it has no key."""
        with self._lock:
            self._open = (
                _Checkpoints(self._root / folder_name(work_key), about) if work_key else None
            )
            return self._open

    def ask_to_save(self) -> bool:
        """Make the training in hand keep its state and end. False: it cannot, so it must be cancelled."""
        with self._lock:
            if self._open is None or not self._open.begun:
                return False
            self._open.wanted = True
            return True

    def close(self) -> None:
        """The training in hand is over, whatever became of it."""
        with self._lock:
            self._open = None


class _Checkpoints:
    """``EpochCheckpoints`` of one piece of work."""

    def __init__(self, folder: Path, about: str) -> None:
        self._folder = folder
        self._about = about
        self.wanted = False
        self.begun = False

    def begin(self) -> TrainingState | None:
        self.begun = True
        for _, path in reversed(_versions(self._folder)):
            state = self._read(path)
            if state is not None:
                logger.info("the training goes on where it was interrupted")
                return state
        return None

    def save(self, state: TrainingState) -> None:
        values = json.dumps({"about": self._about, "values": dict(state.values)}, sort_keys=True)
        try:
            data = pack(state.tensors, {_METADATA: values})
            number = max((number for number, _ in _versions(self._folder)), default=0) + 1
            digest = hashlib.sha256(data).hexdigest()[:16]
            write_atomic(self._folder / f"{number:06d}-{digest}.safetensors", data, durable=False)
            for _, old in _versions(self._folder)[:-VERSIONS]:
                old.unlink(missing_ok=True)
            _prune(self._folder)
        except (OSError, Invalid) as error:
            logger.warning("the training is not kept, it would begin anew: %s", error)
            return
        reached("client.epoch.kept")

    def _read(self, path: Path) -> TrainingState | None:
        try:
            if sha256_of(path)[:16] != path.stem[-16:]:
                raise Invalid("its content does not match its digest")
            found = json.loads(TensorFile(path).metadata[_METADATA])
            if found["about"] != self._about:
                return None
            return TrainingState(load(path), found["values"])
        except (OSError, Invalid, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is not used: %s", path.name, error)
            return None


def forget_epochs(root: Path, work_key: str) -> None:
    """The work is done or not wanted any more: its files go, as far as the disk lets them."""
    _remove(root / folder_name(work_key))


def folder_name(work_key: str) -> str:
    """A name of a file for any key that a server thinks of."""
    return hashlib.sha256(work_key.encode()).hexdigest()[:32]


def _versions(folder: Path) -> list[tuple[int, Path]]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    return [(int(match[1]), folder / name) for name in names if (match := _NAME.fullmatch(name))]


def _prune(current: Path) -> None:
    others = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
    others.sort(key=_used_at)
    for old in others[: -(WORKS - 1)]:
        _remove(old)


def _used_at(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime_ns
    return 0


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for _, path in _versions(folder):
            path.unlink(missing_ok=True)
        folder.rmdir()
