"""What a client's ``context.state`` holds between messages: of a stock Flower node, and of a FedOps device.

A stock node may run each message in a process of its own; Flower keeps its context and never sends it. A
device keeps the state of each run in files, one version a piece of work, so that repeated work starts from
the state before.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from pathlib import Path

from flwr.app import RecordDict

from fedops.core.errors import Invalid
from fedops.flower.codec.messages import in_pieces, packed_record
from fedops.flower.codec.records import from_record_dict, to_record_dict
from fedops.storage.payloads import read_payload, write_payload
from fedops.storage.tensors import Tensors, pack, unpack
from fedops.trainer.device_context import NullRoundState

logger = logging.getLogger("fedops.training")

#: As on a device: an interrupted round is done again from the round before.
STATES_KEPT = 3
RUNS_KEPT = 5
_NAME = re.compile(r"fedops-run-(\d+)-round-(\d+)")
_FILE = re.compile(r"(\d{8})-([0-9a-f]{16})\.safetensors")


class ContextMemory(NullRoundState):
    """A ``RoundMemory`` in the state of a Flower context. Checkpoints are not kept."""

    def __init__(self, state: RecordDict) -> None:
        self._state = state

    def load_state(self, run_id: int, round_: int) -> Tensors | None:
        rounds = [found for found in self._rounds(run_id) if found < round_]
        if not rounds:
            return None
        record = self._state.array_records[_name(run_id, max(rounds))]
        return unpack(b"".join(array.data for array in record.values()))

    def save_state(self, run_id: int, round_: int, tensors: Tensors) -> None:
        self._state[_name(run_id, round_)] = packed_record(in_pieces(pack(tensors)))
        for old in self._rounds(run_id)[:-STATES_KEPT]:
            del self._state[_name(run_id, old)]

    def _rounds(self, run_id: int) -> list[int]:
        matches = [_NAME.fullmatch(name) for name in self._state.array_records]
        return sorted(int(m[2]) for m in matches if m and int(m[1]) == run_id)


def _name(run_id: int, round_: int) -> str:
    return f"fedops-run-{run_id}-round-{round_}"


class RunStates:
    """The states of a device's runs, in a folder. A disk that takes no more costs the state, not the work."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def before(self, run_id: int, work: str) -> RecordDict:
        """The state that this piece of work starts from: that of the work before it."""
        versions = self._versions(run_id)
        own = next((number for number, tag, _ in versions if tag == _tag(work)), None)
        earlier = [path for number, _, path in versions if own is None or number < own]
        for path in reversed(earlier):
            try:
                return to_record_dict(read_payload(path))
            except Invalid as error:
                logger.warning("%s is not used: %s", path.name, error.message)
        return RecordDict()

    def keep(self, run_id: int, work: str, state: RecordDict) -> None:
        """The state that this piece of work ended with."""
        versions = self._versions(run_id)
        if not versions and not state:
            return
        numbers = {tag: number for number, tag, _ in versions}
        number = numbers.get(_tag(work), max(numbers.values(), default=0) + 1)
        path = self._folder(run_id) / f"{number:08d}-{_tag(work)}.safetensors"
        try:
            write_payload(from_record_dict(state), path)
        except (OSError, Invalid) as error:
            logger.warning("the app's state is not kept, the one before stays: %s", error)
            return
        self._prune(run_id)

    def _prune(self, run_id: int) -> None:
        for _, _, path in self._versions(run_id)[:-STATES_KEPT]:
            path.unlink(missing_ok=True)
        for old in sorted(self._root.iterdir())[:-RUNS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _versions(self, run_id: int) -> list[tuple[int, str, Path]]:
        """Number, tag and file of each version, the oldest first."""
        folder = self._folder(run_id)
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = [match for name in names if (match := _FILE.fullmatch(name))]
        return [(int(match[1]), match[2], folder / match[0]) for match in found]

    def _folder(self, run_id: int) -> Path:
        return self._root / f"run-{run_id:08d}"


def _tag(work: str) -> str:
    return hashlib.sha256(work.encode()).hexdigest()[:16]
