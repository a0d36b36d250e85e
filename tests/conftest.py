"""Before anything imports numpy: sums in one order, and no more threads than there are cores for."""

import gc
import os

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_collection() -> None:
    """What is imported and collected stays to the end: no search for garbage has to look at it."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def nothing_is_missing() -> None:
    """What another test met a moment ago, such as a full disk, is not this one's."""
    from fedops.storage.shortages import shortages

    shortages.forget()
