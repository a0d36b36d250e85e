"""One thread, and a trained model of handwritten digits."""

from __future__ import annotations

import pytest
import torch
from digits_model import Cnn, new_model, trained
from one_thread import one_thread as one_thread
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Handwritten digits, enlarged to 28 x 28."""
    data = load_digits()
    small = torch.from_numpy(data.images).float()[:, None] / 16
    large = F.interpolate(small, size=28, mode="bilinear", align_corners=False)
    return large, torch.from_numpy(data.target).long()


@pytest.fixture(scope="module")
def model(digits: tuple[Tensor, Tensor]) -> Cnn:
    return trained(new_model(), digits[0][:1200], digits[1][:1200], epochs=3)


@pytest.fixture(scope="module")
def data(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return digits[0][1200:], digits[1][1200:]
