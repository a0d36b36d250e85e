"""What the hooks on torch saw, as ``Seen`` has it."""

from __future__ import annotations

import sys
from typing import Any

from fedops_watch import tensors
from fedops_watch.pytorch import misfits
from fedops_watch.pytorch.backward import Backward
from fedops_watch.pytorch.loaders import Loaders, Stream
from fedops_watch.pytorch.models import Models, Owner, named_tensors
from fedops_watch.pytorch.optimizers import Made, Optimizers
from fedops_watch.pytorch.put_in import PutIn
from fedops_watch.pytorch.result import Result
from fedops_watch.pytorch.schedulers import Schedulers
from fedops_watch.recorder import Recorder


class Answer:
    def __init__(
        self,
        recorder: Recorder,
        models: Models,
        put_in: PutIn,
        optimizers: Optimizers,
        schedulers: Schedulers,
        loaders: Loaders,
        backward: Backward,
        result: Result,
    ) -> None:
        self._recorder, self._models, self._put_in = recorder, models, put_in
        self._optimizers, self._schedulers, self._loaders = optimizers, schedulers, loaders
        self._backward, self._result = backward, result
        self._own: dict[str, list[dict[str, Any]]] = {}

    def fill(self) -> None:
        if self._recorder.inert:
            return
        if self._recorder.claimed and not self._optimizers.made:
            # Keras counts by its own, and where it cannot, by the batches that backwards used.
            self._recorder.answer.setdefault("examples", self._loaders.examples or None)
            return
        if not self._recorder.claimed:
            self._say_nothing_trained()
        elif self._put_in.armed and not any(owner.proved for owner in self._models.owners):
            where = self._optimizers.made[0].where if self._optimizers.made else ""
            self._recorder.refuse("functional", misfits.FUNCTIONAL, where)
        self._say_failed_within()
        loaders, passes = self._loaders, self._loaders.passes()
        self._recorder.answer.update(
            states=self._put_in.states,
            examples=loaders.examples if any(s.trains for s in loaders.streams) else None,
            batches=loaders.batches,
            passes=passes,
            unfinished=loaders.unfinished(),
            steps=self._optimizers.steps,
            scheduler_steps=self._schedulers.steps(),
            patience=self._schedulers.patience(),
            losses=self._backward.losses(),
            scaled_losses=self._backward.scaled,
        )
        owners = self._models.owners
        self._replace("models", [_model(owner) for owner in owners])
        self._replace("optimizers", [_optimizer(made) for made in self._optimizers.made])
        self._replace("loaders", [_loader(stream) for stream in loaders.streams])
        if self._recorder.claimed:
            self._result.write(passes)
            self._schedulers.say_different()
            _say_several(self._recorder, owners)

    def _say_nothing_trained(self) -> None:
        if self._recorder.answer.get("error"):
            return  # which says why
        made, backwards = self._optimizers.made, self._backward.calls
        where = made[0].where if made else self._backward.where
        misfits.say_nothing_trained(self._recorder, len(made), backwards, where)

    def _say_failed_within(self) -> None:
        answer, steps = self._recorder.answer, self._optimizers.steps
        trace = getattr(sys, "last_traceback", None)
        if answer["ended"] == "failed" and steps and self._loaders.within_pass(trace):
            self._recorder.note(
                "failed_within_training",
                f"the command failed within a pass over its data, after step {steps}: {answer['error']};"
                " what it would have trained from there on is missing",
                answer.get("error_where", ""),
                "difference",
            )

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
        "put_in": owner.state,
    }


def _optimizer(made: Made) -> dict[str, Any]:
    return {
        "kind": made.kind,
        "where": made.where,
        "settings": made.settings,
        "models": [owner.name for owner in made.owners or []],
        "schedulers": made.schedulers,
        "steps_before": made.before[0] if made.before else 0,
        "passes_before": made.before[1] if made.before else 0,
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


def _say_several(recorder: Recorder, owners: list[Owner]) -> None:
    """More than one model: trained together, or one after the other."""
    trained = sorted((o for o in owners if o.steps), key=lambda owner: owner.first_step)
    if len(trained) < 2:
        return
    names = ", ".join(owner.name for owner in trained)
    follow = all(one.last_step < other.first_step for one, other in zip(trained, trained[1:]))
    alike = len({(owner.kind, _structure(owner)) for owner in trained}) == 1
    if follow and alike:
        recorder.refuse(
            "folds",
            f"{len(trained)} models of one kind are trained one after the other ({names}), as folds"
            " or trials are; choose one of them with an option of the command",
            trained[1].where,
        )
    elif follow:
        text = f"models are trained one after the other ({names}); which are to be federated?"
        recorder.note("models_in_sequence", text, trained[1].where, "question")
    else:
        text = f"{len(trained)} models are trained together ({names}); which are to be federated?"
        recorder.note("several_models", text, trained[0].where, "question")


def _structure(owner: Owner) -> tuple[Any, ...]:
    return tuple((name, tuple(tensor.shape)) for name, tensor in owner.named().items())
