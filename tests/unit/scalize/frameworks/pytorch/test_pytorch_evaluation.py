"""The PyTorch adapter evaluates without traces."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch_cases import bits, classifier, context, data, with_own

from fedops.scalize.frameworks.pytorch import PyTorchAdapter

# --- the project's own loops -----------------------------------------------------------------


def careless_evaluate(model, data):
    """Trains a step, leaves the mode, draws random numbers, freezes: none of it may remain."""
    model.train()
    model(data.tensors[0])
    random.random(), np.random.rand(), torch.rand(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
            parameter.requires_grad_(False)
    return 0.5, 0.25


# --- evaluation ------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [None, careless_evaluate])
def test_evaluation_changes_nothing(own: Any) -> None:
    adapter = with_own(evaluate=own)
    adapter.model.train()
    adapter.model[1].eval()  # a part in another mode than the whole
    before = bits(adapter.get_tensors())
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    result = adapter.evaluate(data(), context())
    assert set(result.metrics) == {"loss", "accuracy"}
    assert result.examples == 30
    assert bits(adapter.get_tensors()) == before
    assert [m.training for m in adapter.model] == [True, False, True, True, True]
    assert all(p.requires_grad for p in adapter.model.parameters())
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def test_evaluation_is_the_mean_over_examples() -> None:
    adapter = PyTorchAdapter(classifier())
    result = adapter.evaluate(data(30), context(batch_size=7))
    adapter.model.eval()
    x, y = data(30).tensors
    with torch.no_grad():
        outputs = adapter.model(x)
    assert result.metrics["loss"] == pytest.approx(float(F.cross_entropy(outputs, y)), rel=1e-5)
    assert result.metrics["accuracy"] == int((outputs.argmax(1) == y).sum()) / 30
