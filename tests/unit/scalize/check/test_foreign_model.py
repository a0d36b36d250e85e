"""The model that is put in to show that it is used."""

import ml_dtypes
import numpy as np

from fedops.scalize.check.foreign_model import foreign_model


def test_each_floating_tensor_moves_a_little_and_nothing_else_does() -> None:
    own = {
        "weight": np.linspace(-1, 1, 50, dtype=np.float32),
        "variance": np.full(4, 1e-6, np.float32),
        "half": np.full(3, 1.0, ml_dtypes.bfloat16),
        "large": np.full(2, 1e8, np.float32),
        "steps": np.array([7]),
        "mask": np.tril(np.ones((3, 3), np.float32)),
        "causal": np.where(np.tri(3) > 0, 0.0, -np.inf),
        "empty": np.zeros((0, 2), np.float32),
    }
    foreign = foreign_model(own)
    assert list(foreign) == list(own)
    moved = {name for name in own if foreign[name].tobytes() != own[name].tobytes()}
    assert moved == {"weight", "variance", "half", "large"}
    assert all(foreign[name].dtype == own[name].dtype for name in own)
    step = foreign["weight"] - own["weight"]
    assert step.min() > 0
    assert step.max() < 0.022
    assert (foreign["variance"] > 0).all()
    again = foreign_model(own)
    assert all(again[name].tobytes() == foreign[name].tobytes() for name in own)
