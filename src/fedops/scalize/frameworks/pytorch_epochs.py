"""A PyTorch training, epoch by epoch: it can be kept after each, and goes on bit for bit where it was.

What the rest of a training depends on is the model, the optimizer, the random states, the place in the
data and the numbers that are summed up for the metrics.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from fedops.scalize.adapter.protocol import Cancelled, TrainContext, TrainingState
from fedops.scalize.frameworks.pytorch_tensors import from_numpy, to_numpy
from fedops.scalize.frameworks.running_metrics import RunningMetrics
from fedops.scalize.frameworks.training_state import (
    CannotKeep,
    as_numpy,
    decode,
    encode,
    random_state,
    set_random_state,
)
from fedops.storage.tensors import Tensors

logger = logging.getLogger("fedops.training")


class Epochs:
    """The batches of each epoch of a training that may be interrupted and gone on with.

    ``tally`` is emptied before each epoch. Iterate over this for the epochs, over each for its batches.
    """

    def __init__(
        self,
        context: TrainContext,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loader: Iterable[Any],
        tally: RunningMetrics,
    ) -> None:
        self._context = context
        self._model = model
        self._optimizer = optimizer
        self._loader = loader
        self._tally = tally
        self._kept = context.checkpoints
        self._done = 0  # epochs
        self._batches = 0  # of the epoch at work
        self._begin: dict[str, Any] = {}  # the random states at its begin

    def __iter__(self) -> Iterator[Iterator[Any]]:
        state = self._kept.begin() if self._kept else None
        now = self._restored(state) if state else None
        while self._done < self._context.epochs:
            yield self._epoch(now)
            now = None
            self._done += 1
            self._batches = 0
            self._context.on_epoch(self._done, self._context.epochs)
            if self._done < self._context.epochs:
                self._begin = {}
                self._keep()

    def _epoch(self, now: Mapping[str, Any] | None) -> Iterator[Any]:
        """The batches of one epoch. ``now``: the random states to go on with, after those that are done."""
        if self._kept:
            self._begin = self._states()
        batches = iter(self._loader)
        if now is not None and self._batches:
            for _ in range(self._batches):
                next(batches, None)
            set_random_state(now)
        else:
            self._tally.clear()
        for batch in batches:
            yield batch
            self._batches += 1
            if self._kept and self._kept.wanted:
                self._keep()
                raise Cancelled

    # --- what is kept ------------------------------------------------------------------------------

    def _states(self) -> dict[str, Any]:
        generators = [generator.get_state().numpy() for generator in _generators(self._loader)]
        return {"global": random_state(), "loader": generators}

    def _keep(self) -> None:
        if self._kept is None:
            return
        course = {
            "epochs": self._done,
            "batches": self._batches,
            "tally": asdict(self._tally),
            "begin": self._begin or self._states(),
            "now": random_state(),
        }
        weights = {"model": _named(self._model), "optimizer": self._optimizer.state_dict()}
        tensors: Tensors = {}
        try:
            values = {
                "course": encode(course, "course", tensors, as_numpy),
                "weights": encode(weights, "weights", tensors, _to_array),
            }
        except CannotKeep as why:
            logger.warning("this training cannot be kept, it would begin anew: %s", why)
            self._kept = None
            return
        self._kept.save(TrainingState(tensors, values))

    def _restored(self, saved: TrainingState) -> Mapping[str, Any] | None:
        """Go on from a state; returns the random states to set after the batches that are done."""
        try:
            course = decode(saved.values["course"], saved.tensors, lambda array: array)
            weights = decode(saved.values["weights"], saved.tensors, from_numpy)
            self._restore_model(weights["model"])
            self._optimizer.load_state_dict(weights["optimizer"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            logger.warning("the training begins anew: what was kept does not fit: %s", error)
            return None
        self._done, self._batches = course["epochs"], course["batches"]
        self._tally.restore(course["tally"])
        generators = _generators(self._loader)
        for generator, kept in zip(generators, course["begin"]["loader"], strict=True):
            generator.set_state(torch.from_numpy(kept))
        set_random_state(course["begin"]["global"])
        now: Mapping[str, Any] = course["now"]
        return now

    @torch.no_grad()
    def _restore_model(self, kept: Mapping[str, torch.Tensor]) -> None:
        named = _named(self._model)
        if {k: v.shape for k, v in named.items()} != {k: v.shape for k, v in kept.items()}:
            raise ValueError("the model has other tensors")
        for name, tensor in named.items():
            tensor.copy_(kept[name])


def _named(model: nn.Module) -> dict[str, torch.Tensor]:
    """Whatever training may change: not the frozen base of a large model, but buffers of every kind."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return {**trained, **dict(model.named_buffers())}


def _to_array(value: Any) -> Any:
    return to_numpy(value).copy() if isinstance(value, torch.Tensor) else as_numpy(value)


def _generators(loader: Any) -> list[torch.Generator]:
    """The generators that a loader has of its own, each once."""
    samplers = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    holders = [loader, *samplers, *(getattr(sampler, "sampler", None) for sampler in samplers)]
    found = [getattr(holder, "generator", None) for holder in holders]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())
