"""The model is one array; a device's data are the numbers it draws the model to."""

import numpy as np


class Model:
    """Trained by the adapter ``chaos``, without any framework."""

    def __init__(self, size: int = 2000) -> None:
        self.size = size


def load_data(partition_index=0):
    """Eight numbers of this device's own to train on, and four to evaluate on."""
    numbers = np.random.default_rng(1000 + (partition_index or 0)).normal(size=12)
    return numbers[:8], numbers[8:]
