"""What stays on a device from round to round: tensors that do not travel, and an adapter's own numbers."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.core.contracts import ExchangeRule
from fedops.scalize.adapter.protocol import KeepsState, ModelAdapter
from fedops.storage.tensors import Tensors
from fedops.trainer.device_context import RoundMemory


@dataclass(frozen=True)
class KeptState:
    """What a run begins with there."""

    #: Of the tensors that stay on the device.
    tensors: Tensors
    #: Of an adapter that ``KeepsState``.
    numbers: Tensors

    @classmethod
    def of(cls, adapter: ModelAdapter) -> KeptState:
        """Of a new adapter."""
        local = [s.name for s in adapter.contract.parameters if s.rule is ExchangeRule.LOCAL]
        tensors = adapter.get_tensors() if local else {}
        numbers = adapter.device_state() if isinstance(adapter, KeepsState) else {}
        return cls({name: tensors[name] for name in local}, numbers)

    def restore(
        self, adapter: ModelAdapter, memory: RoundMemory, task: str, run_id: int, after_round: int
    ) -> Tensors:
        """Give the adapter its numbers as ``after_round`` of this run left them; returns the tensors."""
        wanted = {**self.tensors, **self.numbers}
        if not wanted:
            return {}
        state = memory.load_state(run_id, after_round + 1)
        if state is None or not _fits(state, wanted):
            state = {**self.numbers, **self._of_earlier_runs(memory, task)}
            memory.save_state(run_id, after_round, state)
        if isinstance(adapter, KeepsState):
            adapter.set_device_state({name: state[name] for name in self.numbers})
        return {name: state[name] for name in self.tensors}

    def _of_earlier_runs(self, memory: RoundMemory, task: str) -> Tensors:
        for tensors in memory.load_checkpoint(task) if self.tensors else ():
            if _fits(tensors, self.tensors):
                return {name: tensors[name] for name in self.tensors}
        return self.tensors

    def keep(
        self, adapter: ModelAdapter, tensors: Tensors, memory: RoundMemory, run_id: int, round_: int
    ) -> None:
        """Keep what the round left. ``tensors``: all of the model's."""
        own = {name: tensors[name] for name in self.tensors}
        if isinstance(adapter, KeepsState):
            own |= adapter.device_state()
        if own:
            memory.save_state(run_id, round_, own)


def _fits(state: Tensors, wanted: Tensors) -> bool:
    return all(
        name in state and (state[name].shape, state[name].dtype) == (array.shape, array.dtype)
        for name, array in wanted.items()
    )
