"""Puts the hooks on scikit-learn: on every ``fit`` as it is defined, and where first weights are made."""

from __future__ import annotations

import functools
from typing import Any, Iterator

from fedops_watch import finder, shield
from fedops_watch.ending import Ending
from fedops_watch.estimators.fits import Fits
from fedops_watch.recorder import Recorder

#: Where estimators make their first weights: module -> class, method.
_FIRST_WEIGHTS = {
    "sklearn.neural_network._multilayer_perceptron": ("BaseMultilayerPerceptron", "_initialize"),
    "sklearn.linear_model._stochastic_gradient": ("BaseSGD", "_allocate_parameter_mem"),
}


def install(module: Any, recorder: Recorder, end: Ending) -> None:
    """``module``: ``sklearn.base``, mostly before a module of estimators has run."""
    theirs = getattr(module, "_fit_context", None)
    if theirs is None:
        recorder.note(
            "old_framework",
            "this scikit-learn is older than 1.3 and cannot be watched",
            "",
            "refusal",
        )
        return
    fits = Fits(recorder, end)

    @functools.wraps(theirs)
    def fit_context(*args: Any, **kwargs: Any) -> Any:
        decorate = theirs(*args, **kwargs)
        return lambda method: fits.watched(decorate(method))

    module._fit_context = fit_context
    for kind in _defined(module.BaseEstimator):
        for name in ("fit", "partial_fit"):
            if hasattr(vars(kind).get(name), "__wrapped__"):
                setattr(kind, name, fits.watched(vars(kind)[name]))
    for name, (kind, method) in _FIRST_WEIGHTS.items():
        finder.when_run(name, functools.partial(_after, kind, method, fits))


def _defined(kind: Any) -> Iterator[Any]:
    """Estimators that are there already, as in a process that was forked from one with scikit-learn."""
    for below in list(type.__subclasses__(kind)):
        yield below
        yield from _defined(below)


def _after(kind: str, method: str, fits: Fits, module: Any) -> None:
    owner = getattr(module, kind)
    plain = getattr(owner, method)
    made = shield.shielded(fits.weights_made)

    @functools.wraps(plain)
    def call(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        result = plain(estimator, *args, **kwargs)
        made(estimator)
        return result

    setattr(owner, method, call)
