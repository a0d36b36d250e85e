"""What the hooks on torch saw, as ``Seen`` has it."""

from __future__ import annotations

from typing import Any

from fedops_watch import tensors
from fedops_watch.pytorch.backward import Backward
from fedops_watch.pytorch.loaders import Loaders, Stream
from fedops_watch.pytorch.models import Models, Owner, named_tensors
from fedops_watch.pytorch.optimizers import Made, Optimizers
from fedops_watch.pytorch.put_in import PutIn
from fedops_watch.pytorch.result import Result
from fedops_watch.recorder import Recorder


class Answer:
    def __init__(
        self,
        recorder: Recorder,
        models: Models,
        put_in: PutIn,
        optimizers: Optimizers,
        loaders: Loaders,
        backward: Backward,
        result: Result,
    ) -> None:
        self._recorder, self._models, self._put_in = recorder, models, put_in
        self._optimizers, self._loaders = optimizers, loaders
        self._backward, self._result = backward, result
        self._own: dict[str, list[dict[str, Any]]] = {}

    def fill(self) -> None:
        if not self._optimizers.made:
            # Keras counts by its own, and where it cannot, by the batches that backwards used.
            self._recorder.answer.setdefault("examples", self._loaders.examples or None)
            return
        loaders, passes = self._loaders, self._loaders.passes()
        self._recorder.answer.update(
            states=self._put_in.states,
            examples=loaders.examples if any(s.trains for s in loaders.streams) else None,
            batches=loaders.batches,
            passes=passes,
            steps=self._optimizers.steps,
            losses=self._backward.losses(),
            scaled_losses=self._backward.scaled,
        )
        owners = self._models.owners
        self._replace("models", [_model(owner) for owner in owners])
        self._replace("optimizers", [_optimizer(made) for made in self._optimizers.made])
        self._replace("loaders", [_loader(stream) for stream in loaders.streams])
        if self._recorder.claimed:
            self._result.write(passes)

    def _replace(self, kind: str, found: list[dict[str, Any]]) -> None:
        """Ours anew, beside what the hooks of other frameworks put there."""
        rows: list[dict[str, Any]] = getattr(self._recorder, kind)
        ours = self._own.get(kind, [])
        rows[:] = [row for row in rows if not any(row is one for one in ours)] + found
        self._own[kind] = found


def _model(owner: Owner) -> dict[str, Any]:
    first: dict[int, str] = {}
    rows = []
    for name, tensor, parameter in named_tensors(owner.module):
        tied = first.setdefault(id(tensor), name)
        rows.append(
            {
                "name": name,
                "shape": list(tensor.shape),
                "dtype": str(tensor.dtype).split(".")[-1],
                "kind": "parameter" if parameter else "buffer",
                "tied_to": tied if tied != name else "",
            }
        )
    return {
        "name": owner.name,
        "kind": owner.kind,
        "framework": "pytorch",
        "where": owner.where,
        "tensors": [row for row in rows if tensors.can_hold(str(row["dtype"]))],
        "steps": owner.steps,
        "first_step": owner.first_step,
        "last_step": owner.last_step,
    }


def _optimizer(made: Made) -> dict[str, Any]:
    return {
        "kind": made.kind,
        "where": made.where,
        "settings": made.settings,
        "models": [owner.name for owner in made.owners or []],
        "schedulers": made.schedulers,
    }


def _loader(stream: Stream) -> dict[str, Any]:
    return {
        "kind": stream.kind,
        "where": stream.where,
        "examples": stream.examples,
        "batch_size": stream.batch_size,
        "passes": stream.passes + stream.completes,
        "trains": stream.trains,
        "evaluates": stream.evaluates,
        "divisible": stream.divisible,
    }
