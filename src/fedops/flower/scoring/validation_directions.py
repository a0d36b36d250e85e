"""In which direction the loss on the validation data grows, at the model that a round began with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedops.algorithms.inner_products import compared_names
from fedops.flower.scoring.error_sentence import error_sentence
from fedops.flower.scoring.validation import Measure
from fedops.scalize.adapter.protocol import GivesGradients, ModelAdapter, TrainContext
from fedops.storage.tensors import Tensors

NONE = "so there is no direction of the validation data"
#: What is said where a training stands for the gradient.
STANDS = "where a training on the validation data leads stands for it"
OWN_LOSS = (
    f"the loss is computed by the app's own evaluate function or by the model itself: {STANDS}"
)
NO_GRADIENT = f"the app's framework gives no gradient: {STANDS}"


def directions_at(
    adapter: ModelAdapter, context: TrainContext, measure: Measure | None, before: Tensors
) -> tuple[list[Tensors], str]:
    """Of all, then of each class; and what is to be said of them. Empty: there are none."""
    if measure is None:
        return [], ""
    try:
        found, note = measure.gradients(before), ""
        if not found:
            found = [_trained(adapter, context, before, measure)]
            note = OWN_LOSS if isinstance(adapter, GivesGradients) else NO_GRADIENT
    except Exception as error:
        return [], f"finding the gradient failed ({error_sentence(error)}), {NONE}"
    if not _all_finite(found):
        what = "training on the validation data leads to" if note else "the gradient has"
        return [], f"{what} numbers that are not finite, {NONE}"
    return found, note


def _all_finite(found: Iterable[Tensors]) -> bool:
    return all(np.isfinite(array).all() for one in found for array in one.values())


def _trained(
    adapter: ModelAdapter, context: TrainContext, before: Tensors, measure: Measure
) -> Tensors:
    """Against where one training on the examples that are evaluated on leads."""
    adapter.set_tensors(before)
    adapter.train(measure.whole, context)
    after = adapter.get_tensors()
    adapter.set_tensors(before)
    return {
        name: np.asarray(before[name], np.float64) - np.asarray(after[name], np.float64)
        for name in compared_names(before)
    }
