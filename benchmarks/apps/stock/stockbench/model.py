"""The idle app's models as plain arrays."""

import numpy as np

WIDTHS = {"mb1_8": 512, "mb45": 12_784}


def shapes(size: str) -> list[tuple[int, ...]]:
    """``tiny``: a few bytes; the others by their megabytes of float32."""
    if size == "tiny":
        return [(1, 2), (1,)]
    width = WIDTHS[size]
    return [(width, 784), (width,), (96, width), (96,), (10, 96), (10,)]


def initial(size: str = "mb1_8") -> list[np.ndarray]:
    """Arrays of float32."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes(size)]
