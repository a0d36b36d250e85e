"""What a stock Flower node remembers between messages: the tensors that stay on it, in its own context.

Such a node may run each message in a process of its own; Flower keeps the context and never sends it.
"""

from __future__ import annotations

import re

from flwr.app import RecordDict

from fedops.flower.device import NoMemory
from fedops.flower.messages import in_pieces, packed_record
from fedops.storage.tensors import Tensors, pack, unpack

#: As on a device: an interrupted round is done again from the round before.
STATES_KEPT = 3
_NAME = re.compile(r"fedops-run-(\d+)-round-(\d+)")


class ContextMemory(NoMemory):
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
