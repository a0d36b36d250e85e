"""What clients measured of the models of a round's coalitions, as values of its clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedops.algorithms.client_evaluations import values_by_others
from fedops.algorithms.contribution.estimate import Estimate
from fedops.engine.scoring.scoring_plan import ON_CLIENTS


def value_by_clients(
    evaluations: Mapping[str, Any] | None, devices: Sequence[str]
) -> tuple[Estimate | None, str]:
    """Leave-one-out values, and what is to be said of them. None: there are none.

    ``evaluations``: an ``Evaluations`` in plain values.
    """
    if evaluations is None:
        return None, ""
    answers = evaluations["by_device"]
    if not answers:
        return None, evaluations["note"]
    owners = [index for index, device in enumerate(devices) if device in answers]
    found = [answers[devices[index]] for index in owners]
    utilities = np.array([one["utilities"] for one in found], np.float64)  # None is no number
    values, errors = values_by_others(utilities, owners, [one["examples"] for one in found])
    without_classes = np.zeros((len(devices), 0))
    evaluated = len(devices) + 1
    estimate = Estimate(ON_CLIENTS, values, errors, evaluated, without_classes)
    return estimate, evaluations["note"]
