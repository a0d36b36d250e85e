"""Puts the hooks on Keras, once it has run."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

from fedops_watch.ending import Ending
from fedops_watch.keras_fit.answer import Answer
from fedops_watch.keras_fit.fits import Fits
from fedops_watch.keras_fit.proximal import Proximal
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded


def install(keras: Any, recorder: Recorder, end: Ending) -> None:
    fits = Fits(recorder, end)
    recorder.at_end(Answer(recorder, fits).fill, last=True)
    if not hasattr(keras, "ops"):
        text = f"Keras {keras.__version__} cannot be watched; install Keras 3"
        recorder.refuse("old_framework", text)
        return
    _watch_fit(keras, fits)
    _watch_gradients(keras, fits, Proximal(recorder.job, fits))


def _watch_fit(keras: Any, fits: Fits) -> None:
    plain = keras.Model.fit
    begin, done = shielded(fits.begin), shielded(fits.done)

    @functools.wraps(plain)
    def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
        asked = begin(plain, model, args, kwargs)
        if asked is None:
            return plain(model, *args, **kwargs)
        asked.told.put_first(_callback(keras, fits))
        try:
            return plain(*asked.told.args, **asked.told.kwargs)
        finally:
            done(asked)

    keras.Model.fit = fit


def _callback(keras: Any, fits: Fits) -> Any:
    """Tells ``fits`` how far a fit is. Made here, since its class is Keras's."""

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        on_epoch_begin = _told(fits.epoch_begins)
        on_train_batch_begin = _told(fits.batch_begins)
        on_train_batch_end = _told(fits.batch_ends, logs=True)
        on_test_begin = _told(fits.count_examples)
        on_epoch_end = _told(fits.epoch_ends, logs=True)

    return Watch()


def _told(hook: Any, logs: bool = False) -> Any:
    safe = shielded(hook)
    if logs:
        return lambda self, number, logs=None: safe(logs)
    return lambda self, *args, **kwargs: safe()


def _watch_gradients(keras: Any, fits: Fits, proximal: Proximal) -> None:
    owner: Any = next(
        kind for kind in inspect.getmro(keras.optimizers.Optimizer) if "apply" in vars(kind)
    )
    plain, seen, pulled = owner.apply, shielded(fits.gradients), shielded(proximal.pulled)

    @functools.wraps(plain)
    def apply(optimizer: Any, grads: Any, *args: Any, **kwargs: Any) -> Any:
        if fits.now is None or _concrete(keras):
            seen()
        if proximal.on:
            grads = pulled(optimizer, grads, args, kwargs)
            if grads is None:
                fits.fail(
                    "no_proximal", "FedProx's term cannot be added to the gradients of this model"
                )
        return plain(optimizer, grads, *args, **kwargs)

    owner.apply = apply


def _concrete(keras: Any) -> bool:
    """Whether values can be read here: not while a compiler traces."""
    backend = keras.backend.backend()
    if backend == "jax":
        return False
    if backend == "tensorflow":
        return bool(sys.modules["tensorflow"].executing_eagerly())
    return True
