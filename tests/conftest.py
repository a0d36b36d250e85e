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
def no_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that another test found full a moment ago is not this one's."""
    from fedops.storage.disk import full_disk

    monkeypatch.setattr(full_disk, "_last", None)
