"""Optimizers: their making, and each step."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any

from fedops_watch import places
from fedops_watch.ending import Ending
from fedops_watch.pytorch import misfits
from fedops_watch.pytorch.loaders import Loaders
from fedops_watch.pytorch.models import Models, Owner
from fedops_watch.pytorch.proximal import Proximal
from fedops_watch.pytorch.put_in import PutIn
from fedops_watch.pytorch.result import Result
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded


class Made:
    """An optimizer as it was made; held weakly, so that it and its moments can go."""

    def __init__(self, optimizer: Any) -> None:
        self.of = weakref.ref(optimizer)
        self.kind = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
        self.where = places.of_caller()
        self.settings = {
            name: value
            for name, value in getattr(optimizer, "defaults", {}).items()
            if isinstance(value, (int, float, bool, str))
        }
        self.schedulers: list[str] = []
        #: How many steps and passes of the training there were before its first step; None: it took none.
        self.before: tuple[int, int] | None = None
        #: The owners of what it holds; known from the first step on.
        self.owners: list[Owner] | None = None

    def parameters(self) -> list[Any]:
        optimizer = self.of()
        if optimizer is None:
            return []
        return [p for group in optimizer.param_groups for p in group["params"]]


class Optimizers:
    def __init__(
        self,
        torch: Any,
        recorder: Recorder,
        end: Ending,
        models: Models,
        put_in: PutIn,
        result: Result,
        loaders: Loaders,
    ) -> None:
        self._torch = torch
        self._recorder, self._end, self._models = recorder, end, models
        self._put_in, self._result, self._loaders = put_in, result, loaders
        mu = recorder.job.proximal_mu
        self._proximal = Proximal(torch, models, mu) if mu else None
        self.made: list[Made] = []
        self._by_id: dict[int, Made] = {}
        self.steps = 0
        #: The optimizer whose step runs: one that it calls in turn is a part of that step.
        self._inside: int | None = None

    def install(self) -> None:
        module: Any = sys.modules["torch.optim.optimizer"]
        add = module.Optimizer.add_param_group
        meet = shielded(self._meet)

        @functools.wraps(add)
        def add_param_group(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            result = add(optimizer, *args, **kwargs)
            meet(optimizer)
            return result

        module.Optimizer.add_param_group = add_param_group
        module.register_optimizer_step_pre_hook(shielded(self._before_step))
        module.register_optimizer_step_post_hook(shielded(self._after_step))

    def _meet(self, optimizer: Any) -> Made:
        made = self._by_id.get(id(optimizer))
        if made is None or made.of() is not optimizer:
            made = Made(optimizer)
            self.made.append(made)
            self._by_id[id(optimizer)] = made
            self._put_in.held.append(made.parameters)
        made.owners = None
        self._put_in.arm()
        return made

    def schedule(self, optimizer: Any, kind: str) -> None:
        made = self.find(optimizer)
        while (
            made is None and optimizer is not None
        ):  # Accelerate's stands around the one that steps
            optimizer = getattr(optimizer, "optimizer", None)
            made = self.find(optimizer)
        if made is not None and kind not in made.schedulers:
            made.schedulers.append(kind)

    def find(self, optimizer: Any) -> Made | None:
        made = self._by_id.get(id(optimizer))
        return made if made is not None and made.of() is optimizer else None

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        self._end.go_on()
        if self._inside is None or self._inside == id(optimizer):
            self._inside = id(optimizer)
        if not self._recorder.claimed:
            self._first_step()
        if self._put_in.armed and not _computes(args, kwargs):
            self._put_in.prove()
        return self._proximal.before_step(optimizer, args, kwargs) if self._proximal else None

    def _first_step(self) -> None:
        if not self._recorder.claim():
            return  # this process trains along with another one, which says so
        misfits.say_sharing(self._torch, self._recorder, self._models)
        if self._recorder.job.only_begin:
            self._end.end("begun")

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._inside != id(optimizer):
            return
        self._inside = None
        made = self.find(optimizer) or self._meet(optimizer)
        if made.before is None:
            made.before = self.steps, self._loaders.passes()
        self.steps += 1
        if made.owners is None:
            made.owners = self._owners_of(made)
        for owner in made.owners:
            owner.steps += 1
            owner.last_step = self.steps
            owner.first_step = owner.first_step or self.steps
            owner.where = owner.where or made.where
        self._result.stepped(made.owners)
        self._loaders.stepped()
        enough = self._recorder.job.steps and self.steps >= self._recorder.job.steps
        if enough and self._recorder.may_end():
            self._end.end("steps")

    def _owners_of(self, made: Made) -> list[Owner]:
        held = {id(parameter) for parameter in made.parameters()}
        return [owner for owner in self._models.owners if owner.parameters & held]


def _computes(args: Any, kwargs: Any) -> bool:
    """Whether a step has a closure, which runs forward and backward inside it. The optimizer comes first."""
    return kwargs.get("closure") is not None or any(callable(one) for one in args[1:])
