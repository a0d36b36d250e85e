"""Seeding and keeping the process's random states, of every framework that is already loaded.

Frameworks are looked up among the loaded modules, so that none is imported for this.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's, torch's and Keras's global generators."""
    if keras := sys.modules.get("keras"):
        # First, since it seeds the others too: they get the same seed whether it is loaded or not.
        keras.utils.set_random_seed(seed % 2**32)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed % 2**63)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Whatever the block draws, the global generators continue as if it had not run."""
    python, numpy_state = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    state = torch.get_rng_state() if torch else None
    cuda = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        if torch and state is not None:
            torch.set_rng_state(state)
        if torch and cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
