"""Explanations of models of tables.

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

from fedops.explain.imports import library
from fedops.explain.predictor import Array, Predict

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


METHODS: dict[str, Callable[[TableJob], Array]] = {"permutation": permutation, "shap": shap}


def of_columns(values: Array, columns: Array) -> Array:
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
