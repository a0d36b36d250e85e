"""What the device keeps of its rounds: a checkpoint of the model, and the state it needs next time.

Every file is whole or not there, carries its own digest in its name, and is checked before it is used.
State is kept per (run, round), so that a repeated round starts from what it started from before.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fedops.core.errors import Invalid
from fedops.failpoints import reached
from fedops.processes.threads import in_thread
from fedops.storage.atomic_files import sha256_of, write_atomic
from fedops.storage.tensors import Tensors, load, pack

logger = logging.getLogger("fedops.client.rounds")

CHECKPOINTS_KEPT = 2
#: An interrupted round is done again from the round before; one more for good measure.
STATES_KEPT = 3
RUNS_KEPT = 5
_NAME = re.compile(r"run-(\d+)-round-(\d+)-([0-9a-f]{16})\.safetensors")

Event = Callable[..., None]


class RoundStore:
    """A ``RoundMemory`` in a directory. Saving never raises: what goes wrong becomes an event."""

    def __init__(self, root: Path, event: Event, *, tidy: bool = True) -> None:
        """``tidy``: remove what an earlier process left half written. Not beside one that writes."""
        self._root = root
        self._event = event
        self._later = _Later()
        for unfinished in root.glob("*/*/.*") if tidy else ():
            unfinished.unlink(missing_ok=True)

    # --- state -------------------------------------------------------------------------------------

    def load_state(self, run_id: int, round_: int) -> Tensors | None:
        for found_round, path in self._files(self._state_dir(run_id)):
            if found_round < round_ and (tensors := self._read(path)) is not None:
                return tensors
        return None

    def save_state(self, run_id: int, round_: int, tensors: Tensors) -> None:
        if self._save(self._state_dir(run_id), run_id, round_, tensors, "state"):
            self._prune(self._state_dir(run_id), STATES_KEPT)
            self._prune_runs()

    def _state_dir(self, run_id: int) -> Path:
        return self._root / "state" / f"run-{run_id:08d}"

    def _prune_runs(self) -> None:
        for old in sorted((self._root / "state").iterdir())[:-RUNS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    # --- checkpoints -------------------------------------------------------------------------------

    def save_checkpoint(self, task: str, run_id: int, round_: int, tensors: Tensors) -> None:
        """Nobody waits for a checkpoint: it is written while the reply is on its way."""
        self._later.do(lambda: self._save_checkpoint(task, run_id, round_, tensors))

    def _save_checkpoint(self, task: str, run_id: int, round_: int, tensors: Tensors) -> None:
        folder = self._checkpoint_dir(task)
        if self._save(folder, run_id, round_, tensors, "checkpoint"):
            self._prune(folder, CHECKPOINTS_KEPT)

    def flush(self, seconds: float = 10.0) -> None:
        """Wait until what was to be saved is saved."""
        self._later.wait(seconds)

    def load_checkpoint(self, task: str) -> list[Tensors]:
        self.flush()
        found = (self._read(path) for _, path in self._files(self._checkpoint_dir(task)))
        return [tensors for tensors in found if tensors is not None]

    def newest_checkpoint(self, fits: Callable[[Tensors], bool]) -> Tensors | None:
        self.flush()
        paths = [p for p in self._root.glob("checkpoints/*/*") if _NAME.fullmatch(p.name)]
        for path in sorted(paths, key=lambda p: p.stat().st_mtime_ns, reverse=True):
            tensors = self._read(path)
            if tensors is not None and fits(tensors):
                return tensors
        return None

    def _checkpoint_dir(self, task: str) -> Path:
        return self._root / "checkpoints" / task

    # --- files -------------------------------------------------------------------------------------

    def _save(self, folder: Path, run_id: int, round_: int, tensors: Tensors, what: str) -> bool:
        try:
            data = pack(tensors)
            digest = hashlib.sha256(data).hexdigest()[:16]
            path = folder / f"run-{run_id:08d}-round-{round_:06d}-{digest}.safetensors"
            reached(f"client.{what}.before")
            write_atomic(path, data)
            reached(f"client.{what}.written")
        except (OSError, Invalid) as error:
            self._say(
                f"{what}_not_saved",
                f"the {what} of round {round_} was not saved, the one before stays valid: {error}",
                run_id=run_id,
                round=round_,
            )
            return False
        for other in folder.glob(f"run-{run_id:08d}-round-{round_:06d}-*.safetensors"):
            if other != path:  # of an earlier try of the same round
                other.unlink(missing_ok=True)
        return True

    def _read(self, path: Path) -> Tensors | None:
        try:
            if sha256_of(path)[:16] == path.stem[-16:]:
                return load(path)
            problem = "its content does not match its digest"
        except (OSError, Invalid) as error:
            problem = str(error)
        self._say("file_damaged", f"{path.name} is not used: {problem}")
        return None

    def _files(self, folder: Path) -> Iterator[tuple[int, Path]]:
        """Round and path of the files in a folder, newest first."""
        try:
            names = sorted((path.name for path in folder.iterdir()), reverse=True)
        except OSError:
            return
        for name in names:
            if match := _NAME.fullmatch(name):
                yield int(match[2]), folder / name

    def _prune(self, folder: Path, keep: int) -> None:
        for _, path in list(self._files(folder))[keep:]:
            path.unlink(missing_ok=True)

    def _say(self, name: str, text: str, **data: Any) -> None:
        logger.warning("%s", text)
        self._event(name, text, **data)


class _Later:
    """Does the newest thing asked for, in a thread. What it had no time for is left out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next: Callable[[], None] | None = None
        self._busy = False

    def do(self, work: Callable[[], None]) -> None:
        with self._changed:
            self._next = work
            if not self._busy:
                self._busy = True
                in_thread(self._run, name="checkpoints")

    def wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                work, self._next = self._next, None
                if work is None:
                    self._busy = False
                    self._changed.notify_all()
                    return
            try:
                work()
            except Exception:
                logger.exception("a checkpoint could not be written")
