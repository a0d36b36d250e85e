"""What the hooks on Keras saw, as ``Seen`` has it."""

from __future__ import annotations

from fedops_watch.keras_fit.fits import Fits
from fedops_watch.keras_fit.fitted import Fitted
from fedops_watch.recorder import Recorder


class Answer:
    def __init__(self, recorder: Recorder, fits: Fits) -> None:
        self._recorder, self._fits = recorder, fits

    def fill(self) -> None:
        recorder, fits = self._recorder, self._fits
        models = [fitted for fitted in fits.models if fitted.start]
        if not models:
            return
        if any(model.get("framework") == "pytorch" for model in recorder.models):
            for fitted in models:
                text = f"{fitted.name}, a Keras model, is trained beside a torch model and not federated"
                recorder.note("not_federated", text, fitted.where, "difference")
            return
        self._tell(models)
        recorder.models[:] = [fitted.seen() for fitted in models]
        recorder.optimizers[:] = [fitted.optimizer for fitted in models if fitted.optimizer]
        recorder.loaders[:] = fits.loaders
        self._fill_numbers()
        self._write(models)

    def _fill_numbers(self) -> None:
        fits, answer = self._fits, self._recorder.answer
        answer.update(
            states=1,
            steps=fits.steps,
            batches=fits.steps,
            passes=fits.passes,
            examples=fits.examples or answer.get("examples"),
            metrics=fits.metrics,
        )
        if fits.losses:
            epochs = fits.losses[1:] or fits.losses
            answer["losses"] = [fits.losses[0], fits.losses[-1], sum(epochs) / len(epochs)]

    def _write(self, models: list[Fitted]) -> None:
        changed = [fitted for fitted in models if fitted.federated and fitted.look_back()]
        if self._recorder.job.model is None:
            self._fits.write("v0", "start")
        if changed:
            for fitted in models:
                fitted.script = fitted.script or fitted.result
            self._fits.write("script", "script")
            names = ", ".join(fitted.name for fitted in changed)
            text = f"after its training the command holds other weights in {names}, such as its best epoch's"
            self._recorder.note("other_weights_at_the_end", text, changed[0].where, "question")
        at_end = changed and self._recorder.job.result == "script"
        self._fits.write("result", "script" if at_end else "result")

    def _tell(self, models: list[Fitted]) -> None:
        recorder = self._recorder
        for fitted in models:
            if fitted.optimizer.get("schedulers"):
                text = "the schedule of the learning rate begins anew in each round"
                recorder.note("begins_anew", text, fitted.where, "difference")
        places = [fitted.where for fitted in models]
        folds = next((place for place in places if places.count(place) > 1), "")
        if folds:
            text = (
                f"{places.count(folds)} models are fitted by one line, as folds are; choose one fold by an "
                "option of your script"
            )
            recorder.refuse("folds", text, folds)
        elif len(models) > 1 and not recorder.job.models:
            names = ", ".join(fitted.name for fitted in models)
            text = f"several models are fitted, one after the other: {names}; which are federated?"
            recorder.note("several_models", text, models[0].where, "question")
