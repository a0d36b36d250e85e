"""What a model achieves on validation data, as rows for a game: the total, and each class.

    log-likelihood of an example = log p(its true class), p not below LEAST

Bounded, so that one coalition whose model is certain and wrong, or not a number, cannot outweigh all others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.algorithms.contribution.coalitions import Floats

#: The least probability that an example is taken to have.
LEAST = 1e-6


def log_likelihood(
    probabilities: npt.NDArray[Any], labels: npt.NDArray[np.integer[Any]], classes: int
) -> Floats:
    """The mean log-likelihood, then the one of each class; 0 for a class without an example."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    own = np.log(np.clip(np.nan_to_num(own, nan=LEAST), LEAST, 1.0))
    return _by_class(own, labels, classes)


def accuracy(
    probabilities: npt.NDArray[Any], labels: npt.NDArray[np.integer[Any]], classes: int
) -> Floats:
    """The share of right answers, then the one of each class. Takes logits too."""
    right = np.nan_to_num(probabilities, nan=-np.inf).argmax(1) == labels
    return _by_class(right.astype(np.float64), labels, classes)


def _by_class(scores: Floats, labels: npt.NDArray[np.integer[Any]], classes: int) -> Floats:
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=scores, minlength=classes)
    return np.concatenate([[scores.mean()], sums / np.maximum(counts, 1)])
