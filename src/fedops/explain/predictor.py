"""A model of tables seen as one function: rows in; class probabilities, or predicted numbers, out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedops.core.errors import Invalid
from fedops.explain import forward

Array = npt.NDArray[Any]
Predict = Callable[[Array], Array]


def predictor(model: Any, numbers: bool = False) -> Predict:
    """Rows [n, features] to a table [n, outputs]: probabilities, or what is predicted (``numbers``).

    Raises:
        Invalid: the model has no way to predict.
    """
    if isinstance(model, nn.Module):
        return lambda rows: _torch(model, rows, numbers)
    if hasattr(model, "predict_proba"):
        return lambda rows: _table(model.predict_proba(rows))
    if hasattr(model, "decision_function"):
        return lambda rows: _chances(_table(model.decision_function(rows)))
    if hasattr(model, "predict"):
        return lambda rows: _table(model.predict(rows))
    raise Invalid(
        "XAI explains PyTorch modules and models with 'predict' or 'predict_proba'; "
        f"this one is a {type(model).__name__}"
    )


def predicts_numbers(model: Any, labels: Array | None) -> bool:
    """Whether the model predicts a quantity and no class."""
    if labels is not None and bool((labels != labels.round()).any()):
        return True
    if isinstance(model, nn.Module):
        return False
    return not any(hasattr(model, name) for name in ("predict_proba", "classes_", "layers"))


def classes(model: Any) -> list[float] | None:
    """The labels that the columns stand for, where a model says so."""
    found = getattr(model, "classes_", None)
    if found is None or isinstance(model, nn.Module):
        return None
    try:
        return [float(one) for one in found]
    except (TypeError, ValueError):
        raise Invalid("XAI needs class numbers as labels; this model's classes are texts") from None


def _torch(model: nn.Module, rows: Array, numbers: bool) -> Array:
    inputs = forward.placed(model, torch.from_numpy(np.array(rows)))
    with torch.no_grad():
        output = model(inputs) if numbers else forward.scores(model, inputs)
        table = output if numbers else forward.probabilities(output)
    return _table(table.double().cpu().numpy())


def _table(values: Any) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def _chances(margins: Array) -> Array:
    """Decision values as probabilities: monotone, not calibrated."""
    if margins.shape[1] == 1:
        margins = np.concatenate([-margins, margins], 1) / 2
    powers = np.exp(margins - margins.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
