"""The random numbers of the program stay its own while we compute something beside it."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import Any, Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """What ``random``, numpy and torch draw after the block is what they would have drawn without it."""
    numpy: Any = sys.modules.get("numpy")
    torch: Any = sys.modules.get("torch")
    own = random.getstate()
    arrays = numpy.random.get_state() if numpy is not None else None
    tensors = torch.get_rng_state() if torch is not None else None
    try:
        yield
    finally:
        random.setstate(own)
        if numpy is not None:
            numpy.random.set_state(arrays)
        if torch is not None:
            torch.set_rng_state(tensors)
