"""What the device has accepted, on disk: the instruction, how far it is, the finished result.

A folder for each assignment. What is in there outlives restarts of the Client Manager and of the machine, and
goes when the server has the result or does not want it any more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from fedops.client.local.messages import Finished, HeldStatus
from fedops.core.contracts import HeldAssignment, Instruction, Offer, Stage
from fedops.core.errors import Invalid
from fedops.core.reasons.stages import stage_text
from fedops.storage.atomic_files import sha256_of, write_atomic
from fedops.storage.disk import sync_files
from fedops.storage.payloads import read_document
from fedops.storage.tensors import TensorFile

logger = logging.getLogger("fedops.client")

_NOTE = "assignment.json"


@dataclass
class Held:
    """One assignment that the device has accepted."""

    id: str
    kind: str
    task: str
    run_id: int | None
    round: int | None
    folder: Path
    #: None: it is being fetched.
    instruction: Instruction | None = None
    finished: Finished | None = None
    stage: Stage = Stage.WAITING
    done: int = 0
    total: int = 0
    text: str = ""
    #: When the instruction came, or was read by this process; by the monotonic clock.
    instructed_at: float = field(default_factory=time.monotonic)
    #: Set when the server does not want it any more, and whether how far it is may be of use later.
    over: threading.Event = field(default_factory=threading.Event)
    reason: str = ""
    checkpoint: bool = False
    #: Whether the server does not even know it any more.
    forgotten: bool = False

    @property
    def result(self) -> Path:
        """The file with the result."""
        return self.folder / "result.safetensors"

    @property
    def encoded(self) -> Path:
        """The result as it travels, where it is encoded for that."""
        return self.folder / "upload.zst"

    @property
    def seconds_left(self) -> float:
        """Until the deadline, in seconds. What passed while no Client Manager ran is not counted."""
        told = self.instruction.seconds_left if self.instruction else 0.0
        return max(told - (time.monotonic() - self.instructed_at), 0.0)

    @property
    def work_key(self) -> str:
        return (self.instruction.work_key if self.instruction else "") or self.id

    @property
    def at_work(self) -> bool:
        """Whether there is something to do for it still, other than to deliver."""
        return self.finished is None

    def tell(self, stage: Stage, done: int = 0, total: int = 0, text: str = "") -> None:
        """How far it is, from now on."""
        self.stage, self.done, self.total, self.text = stage, done, total, text

    def report(self) -> HeldAssignment:
        """As the server is told."""
        return HeldAssignment(
            id=self.id, stage=self.stage, done=self.done, total=self.total, text=self.text[:200]
        )

    def status(self) -> HeldStatus:
        """As the owner of the device is told."""
        return HeldStatus(
            id=self.id,
            kind=self.kind,
            task=self.task,
            run_id=self.run_id,
            round=self.round,
            doing=stage_text(self.stage, self.done, self.total, self.text),
        )


class AssignmentStore:
    """The folders. Not thread-safe by itself: each assignment belongs to one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def load(self) -> list[Held]:
        """What an earlier Client Manager has left, the oldest first. What cannot be read goes."""
        found = []
        for folder in sorted(self._root.iterdir()) if self._root.is_dir() else []:
            try:
                found.append(_read(folder))
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.warning("%s cannot be read and is left aside: %s", folder, error)
                shutil.rmtree(folder, ignore_errors=True)
        return sorted(found, key=lambda held: (held.run_id or 0, held.round or 0, held.id))

    def begin(self, offer: Offer) -> Held:
        """An offer that is taken. Nothing is on disk before its instruction is."""
        return Held(
            offer.id, offer.kind, offer.task, offer.run_id, offer.round, self._root / offer.id
        )

    def accept(self, held: Held, instruction: Instruction) -> None:
        """Keep the instruction. Should a power cut lose it, the server offers it again."""
        held.instruction, held.instructed_at = instruction, time.monotonic()
        self._write(held)

    def finish(self, held: Held, finished: Finished) -> None:
        """Keep how the work ended. Its result, if there is one, lies there already. See ``secure``."""
        held.finished = finished
        self._write(held)

    def secure(self, held: Held) -> None:
        """From now on a power cut loses neither the result nor how it ended. What is gone is left aside."""
        with contextlib.suppress(OSError):
            sync_files([path for path in (held.result, held.folder / _NOTE) if path.is_file()])

    def again(self, held: Held) -> None:
        """The result is lost: the work is to be done again."""
        for path in (held.result, held.encoded):
            path.unlink(missing_ok=True)
        held.finished = None
        self._write(held)

    def remove(self, held: Held) -> None:
        """Nobody needs it any more."""
        shutil.rmtree(held.folder, ignore_errors=True)

    def _write(self, held: Held) -> None:
        assert held.instruction is not None
        note = {
            "instruction": held.instruction.model_dump(mode="json"),
            "finished": held.finished.model_dump(mode="json") if held.finished else None,
        }
        write_atomic(held.folder / _NOTE, json.dumps(note).encode(), 0o600, durable=False)


def _read(folder: Path) -> Held:
    note = json.loads((folder / _NOTE).read_text())
    instruction = Instruction.model_validate(note["instruction"])
    held = Held(
        instruction.id,
        instruction.kind,
        instruction.task,
        instruction.run_id,
        instruction.round,
        folder,
        instruction,
    )
    held.finished = (
        Finished.model_validate(note["finished"]) if note["finished"] else found_result(held)
    )
    return held


def found_result(held: Held) -> Finished | None:
    """The result, when it was written and nobody was there to be told."""
    try:
        read_document(TensorFile(held.result))
        size = held.result.stat().st_size
        digest = sha256_of(held.result)
        return Finished(id=held.id, outcome="done", sha256=digest, size=size, found=True)
    except (OSError, Invalid):
        return None
