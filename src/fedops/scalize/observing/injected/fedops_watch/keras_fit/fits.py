"""Fits of Keras models: which there are, what goes in, where they are ended, what comes out."""

from __future__ import annotations

import sys
from typing import Any, Callable

from fedops_watch import places, random_states
from fedops_watch.ending import Ending
from fedops_watch.keras_fit import weights
from fedops_watch.keras_fit.arguments import Arguments
from fedops_watch.keras_fit.fitted import Fitted, sync
from fedops_watch.recorder import Recorder


class Fit:
    """One call of ``fit``."""

    def __init__(self, told: Arguments, where: str) -> None:
        self.told = told
        self.where = where
        self.model: Any = None
        self.fitted: Fitted | None = None
        #: Whether its first batch is still to come.
        self.fresh = True
        #: Whether this epoch's examples were counted.
        self.counted = False
        #: Batches of this epoch.
        self.batches = 0

    def examples(self) -> int | None:
        """Of this epoch so far; None where neither Keras nor the data tells."""
        counted = examples_counted(self.model)
        batches = self.batches * int(getattr(self.model, "steps_per_execution", 1) or 1)
        if counted and counted > batches:
            return counted
        # A train_step of its own may tell the mean loss of a batch as if it were one example's.
        rows, size = self.told.rows(), self.told.get("batch_size") or 32
        return None if rows is None else min(rows, batches * size)


class Fits:
    """One for the process."""

    def __init__(self, recorder: Recorder, end: Ending) -> None:
        self._recorder, self._job, self._end = recorder, recorder.job, end
        self.models: list[Fitted] = []
        self.now: Fit | None = None
        self.steps = 0
        self.passes = 0
        self.examples: int | None = 0
        self.loaders: list[dict[str, Any]] = []
        #: Of each epoch; the first batch's comes first.
        self.losses: list[float] = []
        self.metrics: dict[str, float] = {}

    def begin(self, fit: Callable[..., Any], model: Any, args: Any, kwargs: Any) -> Fit | None:
        """A fit is called. None: it is none of ours to watch."""
        if self.now is not None or self._recorder.inert:
            return None
        self._end.go_on()
        asked = Fit(Arguments(fit, model, args, kwargs), places.of_caller())
        asked.model = model
        asked.fitted = self._fitted(model, asked.where)
        self._tell_callbacks(asked)
        if self._job.part and asked.fitted.federated and not asked.told.cut(self._job.part):
            text = f"its data, a {asked.told.kind()}, cannot be cut into parts; give fit arrays"
            self._recorder.refuse("not_divisible", text, asked.where)
        self.now = asked
        return asked

    def _fitted(self, model: Any, where: str) -> Fitted:
        for fitted in self.models:
            if fitted.of() is model:
                return fitted
        kind = type(model).__name__
        same = sum(fitted.name.rstrip("0123456789") == kind for fitted in self.models)
        name = kind if not same else f"{kind}{same + 1}"
        fitted = Fitted(model, name, where, not self._job.models or name in self._job.models)
        self.models.append(fitted)
        return fitted

    def _tell_callbacks(self, asked: Fit) -> None:
        begin_anew = {"ReduceLROnPlateau", "LearningRateScheduler", "EarlyStopping"}
        for name in asked.told.callback_names():
            if name in begin_anew:
                text = f"{name} begins anew in each round"
                self._recorder.note("begins_anew", text, asked.where, "difference")
            if name == "BackupAndRestore":
                text = "BackupAndRestore goes on from its last backup; take it out, since rounds are short"
                self._recorder.refuse("restores_backup", text, asked.where)

    def done(self, asked: Fit) -> None:
        self.now = None

    # --- what the callback tells -------------------------------------------------------------------

    def epoch_begins(self) -> None:
        asked = self.now
        if asked is None or asked.fitted is None or not asked.fitted.federated:
            return
        if 0 < self._job.passes <= self.passes and self._recorder.may_end():
            self._end.end("passes")
        asked.counted, asked.batches = False, 0

    def batch_begins(self) -> None:
        asked = self.now
        if asked is None or asked.fitted is None or not asked.fresh:
            return
        asked.fresh = False
        self._end.go_on()
        if not self._recorder.claim():
            return
        fitted = asked.fitted
        if fitted.start:
            self._compare_phases(asked, fitted)
        else:
            self._meet(asked, fitted)

    def _compare_phases(self, asked: Fit, fitted: Fitted) -> None:
        """A later fit of the same model."""
        changed = weights.first_difference(asked.model, fitted.result) if fitted.result else ""
        if changed:
            text = f"{fitted.name} is fitted, gets other weights ('{changed}'), and is fitted again"
            self._recorder.note("two_phases", text, asked.where, "question")

    def _meet(self, asked: Fit, fitted: Fitted) -> None:
        wrong = fitted.meet(self._job)
        if wrong:
            self.fail("model_differs", f"{fitted.name}: {wrong}")
        if fitted.used:
            self._recorder.answer["used"] = True
        if not fitted.federated:
            return
        if self._job.only_begin:
            self._tell_loader(asked)
            self._end.end("begun")
        if self._job.evaluate or self._job.evaluate_only:
            self._evaluate(asked)
        if self._job.evaluate_only:
            self._end.end("evaluated")

    def _evaluate(self, asked: Fit) -> None:
        """What was put in, on the validation data; the training's metrics begin anew after it."""
        told, model = asked.told.evaluation(), asked.model
        if told is None:
            return
        self.now = None
        try:
            with random_states.kept():
                found = model.evaluate(return_dict=True, **told)
            self._recorder.answer["evaluated_examples"] = examples_counted(model) or 0
        finally:
            self.now = asked
        self._recorder.answer["evaluated"] = numbers(found)
        model.reset_metrics()
        if sys.modules["keras"].backend.backend() == "torch":
            model.train()

    def gradients(self) -> None:
        """Gradients are about to be applied, so the first forward and backward are over."""
        asked = self.now
        if asked is None:
            self._refuse_loop()
            return
        fitted = asked.fitted
        if fitted is None or fitted.proved or not fitted.start:
            return
        changed = fitted.prove()
        if changed:
            self.fail(
                "not_used", f"{fitted.name}: '{changed}' was changed after the model was put in"
            )

    def _refuse_loop(self) -> None:
        text = (
            "a Keras model is trained by a loop of its own; write its step as the model's train_step and "
            "call fit, which FedOps can put a model into"
        )
        self._recorder.claim()
        self._recorder.refuse("own_keras_loop", text, places.of_caller())
        self._end.end("begun")

    def fail(self, kind: str, text: str) -> None:
        self._recorder.answer.update(used=False, first_difference=text)
        self._recorder.refuse(kind, text)
        self._end.end("failed")

    def batch_ends(self, logs: Any) -> None:
        asked = self.now
        if asked is None or asked.fitted is None:
            return
        fitted = asked.fitted
        self.steps += 1
        fitted.steps += 1
        asked.batches += 1
        fitted.first_step = fitted.first_step or self.steps
        fitted.last_step = self.steps
        if not self.losses:
            self.losses += numbers({"loss": (logs or {}).get("loss")}).values()
        enough = fitted.federated and 0 < self._job.steps <= self.steps
        if enough and self._recorder.may_end():
            fitted.keep()
            self.count_examples()
            if self._job.passes:  # a look that does not wait for a long epoch: there are passes
                self.passes += 1
                self._tell_loader(asked)
            self._end.end("steps")

    def count_examples(self) -> None:
        """Before its validation, or at its end, an epoch tells how many examples it trained on."""
        asked = self.now
        if asked is None or asked.counted:
            return
        asked.counted = True
        if asked.fitted is not None and asked.fitted.federated:
            sync(asked.model)
            found = asked.examples()
            self.examples = (
                None if found is None or self.examples is None else self.examples + found
            )

    def epoch_ends(self, logs: Any) -> None:
        asked = self.now
        if asked is None or asked.fitted is None:
            return
        self.count_examples()
        asked.fitted.keep()
        if not asked.fitted.federated:
            return
        self.passes += 1
        self.metrics = numbers(logs or {})
        if "loss" in self.metrics:
            self.losses.append(self.metrics["loss"])
        self._tell_loader(asked)
        if self._job.keep_pass == self.passes:
            self.write(f"pass-{self.passes}", "result")

    def _tell_loader(self, asked: Fit) -> None:
        rows = asked.told.rows()
        for known in self.loaders:
            if known["where"] == asked.where:
                known["passes"] = self.passes
                return
        self.loaders.append(
            {
                "kind": asked.told.kind(),
                "where": asked.where,
                "examples": rows,
                "batch_size": asked.told.get("batch_size") or (32 if rows is not None else None),
                "passes": self.passes,
                "trains": True,
                "divisible": rows is not None,
            }
        )

    def write(self, stem: str, what: str) -> None:
        federated = [fitted for fitted in self.models if fitted.federated and fitted.start]
        found = {}
        for fitted in federated:
            prefix = fitted.name + "." if len(federated) > 1 else ""
            found.update(weights.raws(getattr(fitted, what), prefix))
        if found:
            self._recorder.write_tensors(stem, found)


def examples_counted(model: Any) -> int | None:
    """How many examples the loss was taken of since the metrics were last set back."""
    count = getattr(getattr(model, "_loss_tracker", None), "count", None)
    found = int(weights.to_numpy(count)) if count is not None else 0
    return found or None


def numbers(found: Any) -> dict[str, float]:
    values = {}
    for name, value in found.items():
        try:
            values[str(name)] = float(value)
        except (TypeError, ValueError):
            continue
    return {name: value for name, value in values.items() if value == value}
