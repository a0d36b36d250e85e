"""Fits of estimators: which of them train a model, what goes in and what comes out."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import threading
from typing import Any, Callable

from fedops_watch import places, shield, tensors
from fedops_watch.ending import Ending
from fedops_watch.estimators import data, kinds
from fedops_watch.estimators.fitted import Fitted
from fedops_watch.recorder import Recorder

#: Processes of theirs that help to fit, and of which none trains on its own account.
_HELPERS = ("LokyProcess", "PoolWorker")


class Fits:
    """One for the process: sees every ``fit`` and ``partial_fit``, also those inside others."""

    def __init__(self, recorder: Recorder, end: Ending) -> None:
        self._recorder = recorder
        self._end = end
        self._thread = threading.local()
        self._models: list[Fitted] = []
        self._refused: dict[str, str] = {}
        self._now: Fitted | None = None
        self._asked: Any = None  #: the call that it is fitted by
        self._steps = 0
        self._examples: int | None = 0
        self._passes = data.Passes()
        recorder.at_end(self._fill, last=True)

    def watched(self, fit: Callable[..., Any]) -> Callable[..., Any]:
        """A method ``fit`` or ``partial_fit`` that tells of itself."""
        before, after = shield.shielded(self._before), shield.shielded(self._after)

        @functools.wraps(fit)
        def call(estimator: Any, *args: Any, **kwargs: Any) -> Any:
            stack = self._stack()
            asked = _Call(fit.__name__, estimator, args, kwargs)
            before(asked, stack)
            stack.append(asked)
            try:
                result = fit(estimator, *asked.args, **asked.kwargs)
            finally:
                stack.pop()
                shield.shielded(asked.undo)()
            after(asked, stack)
            return result

        return call

    def _stack(self) -> list[Any]:
        if not hasattr(self._thread, "stack"):
            self._thread.stack = []
        found: list[Any] = self._thread.stack
        return found

    def _before(self, asked: Any, stack: list[Any]) -> None:
        process = multiprocessing.current_process().name
        helper = self._recorder.inert or any(part in process for part in _HELPERS)
        if helper or (stack and not stack[-1].opens):
            return
        if not stack and _scores_only():
            text = "cross-validation fits copies of the model to score them; they are not federated"
            self._recorder.note("cross_validation", text, places.of_caller())
            return
        asked.inside = bool(stack)
        asked.where = places.of_caller()
        if kinds.is_pipeline(asked.estimator):
            asked.opens = True
        elif not hasattr(asked.estimator, "predict"):
            asked.transforms = True
        elif not kinds.reason_against(asked.estimator):
            self._begin(asked)
        else:
            asked.refused = True
            self._recorder.claim()

    def _begin(self, asked: Any) -> None:
        """A fit that counts is about to begin."""
        recorder, job = self._recorder, self._recorder.job
        if not recorder.claim():
            return
        model = self._model(asked)
        if model.federated:
            self._end.go_on()
            if job.evaluate_only:
                self._end.end("evaluated")
            begins = self._passes.begins(asked.name, asked.x)
            if begins and 0 < job.passes < self._passes.count and recorder.may_end():
                self._passes.count -= 1
                self._end.end("passes")
            asked.cut(job.part)
            model.before(asked, job)
            self._require_used(model)
            self._asked = asked
            if model.used:
                self._begun()
        asked.model, self._now = model, model

    def _begun(self) -> None:
        """The given model is in its place: a look that only asks for this ends here."""
        if self._recorder.job.only_begin:
            self._passes.loader(self._asked.x, self._asked.where, data.rows(self._asked.x))
            self._end.end("begun")

    def _model(self, asked: Any) -> Fitted:
        for model in self._models:
            if model.estimator is asked.estimator:
                return model
        name = kinds.numbered(type(asked.estimator).__name__, [m.name for m in self._models])
        chosen = not self._recorder.job.models or name in self._recorder.job.models
        model = Fitted(asked.estimator, name, asked.where, chosen)
        self._models.append(model)
        return model

    def weights_made(self, estimator: Any) -> None:
        """The estimator has just made its first weights, and nothing has trained on them yet."""
        if self._now is not None and self._now.estimator is estimator:
            self._now.first_weights(self._recorder.job)
            self._require_used(self._now)
            if self._now.federated:
                self._begun()

    def _require_used(self, model: Fitted) -> None:
        """Training on other weights than the given ones would be no part of a round."""
        if model.difference:
            text = f"{model.name}: {model.difference}"
            self._recorder.answer.update(used=False, first_difference=text)
            self._recorder.refuse("model_differs", text, model.where)
            self._end.end("failed")

    def _after(self, asked: Any, stack: list[Any]) -> None:
        if asked.transforms and kinds.learns(asked.estimator):
            self._tell_transformer(asked)
        if asked.refused:
            self._refused.setdefault(asked.where, kinds.reason_against(asked.estimator))
        model = asked.model
        if model is None:
            return
        self._now = None
        self._steps += 1
        model.after(self._steps)
        if not model.federated:
            return
        rows = data.rows(asked.x)
        self._examples = None if rows is None or self._examples is None else self._examples + rows
        self._passes.loader(asked.x, asked.where, rows)
        self._begun()  # where its weights were not seen to be made
        job = self._recorder.job
        if job.keep_pass and self._passes.count == job.keep_pass:
            self._write(f"pass-{job.keep_pass}", "result")
        if 0 < job.steps <= self._steps and self._recorder.may_end():
            self._end.end("steps")

    def _tell_transformer(self, asked: Any) -> None:
        name = type(asked.estimator).__name__
        if kinds.same_columns(asked.estimator) or not asked.inside:
            text = (
                f"{name} learns from each device's own data, and what it learns is not averaged: "
                "the same values can mean different things on different devices"
            )
            self._recorder.note("learns_locally", text, asked.where, "difference")
            return
        text = (
            f"{name} learns from the data what its columns mean, so the model's weights mean other things "
            "on different devices; do this before the devices' data is made, or use one that learns "
            "nothing, such as HashingVectorizer"
        )
        self._recorder.refuse("learns_columns", text, asked.where)

    # --- the answer ------------------------------------------------------------------------------

    def _fill(self) -> None:
        recorder = self._recorder
        others = [m for m in recorder.models if m.get("framework") != "sklearn"]
        if others:
            for model in self._models:
                text = f"{model.name} is fitted beside another framework's model and not federated"
                recorder.note("not_federated", text, model.where, "difference")
            return
        for where, reason in self._refused.items():
            if self._models:
                recorder.note("not_averageable", reason, where, "difference")
            else:
                recorder.refuse("not_averageable", reason, where)
        if not self._models:
            return
        self._tell_of_several()
        trained = [model for model in self._models if model.federated]
        recorder.models[:] = [model.seen() for model in self._models]
        recorder.optimizers[:] = [model.optimizer() for model in self._models]
        recorder.loaders[:] = self._passes.loaders
        self._fill_answer(trained)
        self._write("v0", "start")
        self._write("result", "result")

    def _fill_answer(self, trained: list[Fitted]) -> None:
        answer, job = self._recorder.answer, self._recorder.job
        losses = [loss for model in trained for loss in model.losses]
        answer.update(
            states=1,
            steps=self._steps,
            batches=self._steps,
            passes=self._passes.count,
            examples=self._examples,
            scheduler_steps=max([model.ticks for model in trained] or [0]),
        )
        if losses:
            answer["losses"] = [losses[0], losses[-1], sum(losses) / len(losses)]
            answer["metrics"] = {"loss": losses[-1]}
        if job.model is not None and trained:
            answer["used"] = all(model.used for model in trained)
        if job.proximal_mu:
            self._recorder.refuse(
                "no_proximal", "FedProx's term cannot be applied inside scikit-learn; use FedAvg"
            )

    def _tell_of_several(self) -> None:
        places_of: dict[str, list[Fitted]] = {}
        for model in self._models:
            places_of.setdefault(model.where + type(model.estimator).__name__, []).append(model)
            if model.anew > 1:
                text = (
                    f"{model.name} is fitted {model.anew} times, and each fit starts anew: the first alone "
                    "uses the model that was put in"
                )
                self._recorder.note("two_phases", text, model.where, "question")
        for same in places_of.values():
            if len(same) > 1:
                text = (
                    f"{len(same)} models of the kind {type(same[0].estimator).__name__} are fitted by one "
                    "line, as folds are; choose one fold by an option of your script"
                )
                self._recorder.refuse("folds", text, same[0].where)
                return
        if len(self._models) > 1 and not self._recorder.job.models:
            names = ", ".join(model.name for model in self._models)
            text = f"several models are fitted, one after the other: {names}; which are federated?"
            self._recorder.note("several_models", text, self._models[0].where, "question")

    def _write(self, stem: str, what: str) -> None:
        trained = [model for model in self._models if model.federated]
        found: dict[str, tensors.Raw] = {}
        for model in trained:
            prefix = model.name + "." if len(trained) > 1 else ""
            for name, array in getattr(model, what).items():
                found[prefix + name] = tensors.from_numpy(array)
        if found:
            self._recorder.write_tensors(stem, found)


class _Call:
    """One call of a ``fit``."""

    def __init__(self, name: str, estimator: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self.name = name
        self.estimator = estimator
        self.args = args
        self.kwargs = kwargs
        self.where = ""
        #: Whether fits inside it are looked at: those of a pipeline's steps.
        self.opens = self.inside = self.transforms = self.refused = False
        self.model: Fitted | None = None
        self.undone: list[Callable[[], None]] = []

    @property
    def x(self) -> Any:
        return self.args[0] if self.args else self.kwargs.get("X")

    @property
    def y(self) -> Any:
        return self.args[1] if len(self.args) > 1 else self.kwargs.get("y")

    def cut(self, part: Any) -> None:
        """Leave this device's part of the examples."""
        if part:
            self.args, self.kwargs = data.part_of(self.args, self.kwargs, part)

    def undo(self) -> None:
        """Take back what was set for the time of the fit."""
        while self.undone:
            self.undone.pop()()


def _scores_only() -> bool:
    """Whether the fit is called by a function that scores copies: cross_val_score, learning_curve..."""
    frame: Any = sys._getframe(1)
    ours = os.path.dirname(os.path.abspath(__file__))
    while frame is not None and _is_ours(frame, ours):
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__", "")).startswith(
        "sklearn.model_selection"
    )


def _is_ours(frame: Any, ours: str) -> bool:
    file = frame.f_code.co_filename
    return bool(file.startswith(ours) or file == shield.__file__)
