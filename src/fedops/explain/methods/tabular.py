"""Models of tables: seen as one function, and the methods that explain them.

    permutation   how much worse the model is when a feature is shuffled (Breiman 2001): one value a
                  feature for the whole reference set, by scikit-learn
    shap          Shapley values of the features of each sample (Lundberg 2017), by the SHAP library

Worse means: of the log likelihood of the true class, or of the squared error of a predicted number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedops.core.errors import Invalid
from fedops.explain.methods import class_scores
from fedops.explain.methods.optional_libraries import library

Array = npt.NDArray[Any]
Predict = Callable[[Array], Array]


def predictor(model: Any, *, numbers: bool = False) -> Predict:
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
    inputs = class_scores.placed(model, torch.from_numpy(np.array(rows)))
    with torch.no_grad():
        output = model(inputs) if numbers else class_scores.scores(model, inputs)
        table = output if numbers else class_scores.probabilities(output)
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


BACKGROUND = 50
_REPEATS = 10
_MOST_COALITIONS = 2_048


@dataclass(frozen=True)
class TableJob:
    """Rows to explain and a reference set of the same device."""

    predict: Predict
    rows: Array  #: [samples, features]
    reference: Array  #: [more samples, features]
    answers: Array  #: the true column of each reference row, or the true number
    numbers: bool
    seed: int
    check: Callable[[], None] = lambda: None

    def asked(self, rows: Array) -> Array:
        """Predictions, while there is time."""
        self.check()
        return self.predict(np.asarray(rows, dtype=self.rows.dtype))


def permutation(job: TableJob) -> Array:
    """[1, features]"""
    result = library("sklearn.inspection").permutation_importance(
        _Estimator(),
        job.reference,
        job.answers,
        scoring=lambda _estimator, rows, answers: _goodness(job, rows, answers),
        n_repeats=_REPEATS,
        random_state=job.seed % 2**32,
    )
    return np.asarray(result.importances_mean, dtype=np.float32)[None, :]


def shap(job: TableJob) -> Array:
    """[samples, features, outputs]. Draws from numpy's global random state, seeded here."""
    np.random.seed(job.seed % 2**32)
    explainer = library("shap").KernelExplainer(job.asked, job.reference[:BACKGROUND])
    count = min(_MOST_COALITIONS, 2 * job.rows.shape[1] + 512)
    values = explainer.shap_values(job.rows, nsamples=count, silent=True, l1_reg=False)
    table = np.asarray(values, dtype=np.float32)
    return table[:, :, None] if table.ndim == 2 else table


#: What each of them needs.
LIBRARIES = {"permutation": "sklearn.inspection", "shap": "shap"}
METHODS: dict[str, Callable[[TableJob], Array]] = {"permutation": permutation, "shap": shap}


def select_columns(values: Array, columns: Array) -> Array:
    """The values for one output of each sample; values for the whole model as they are."""
    return values if values.ndim == 2 else values[np.arange(len(values)), :, columns]


class _Estimator:
    """What scikit-learn asks for; the scoring above does the work."""

    def fit(self, _rows: Any, _answers: Any) -> _Estimator:
        return self


def _goodness(job: TableJob, rows: Array, answers: Array) -> float:
    said = job.asked(rows)
    if job.numbers:
        return -float(np.mean((said[:, 0] - answers) ** 2))
    chances = said[np.arange(len(said)), answers.astype(int)]
    return float(np.mean(np.log(np.clip(chances, 1e-12, 1.0))))
