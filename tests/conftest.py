"""Before anything imports numpy: sums in one order, and no more threads than there are cores for."""

import gc
import os

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


#: On PostgreSQL these say little that others do not: they run there with 'make test-long'.
LONG_ON_POSTGRES = (
    "test_commits.py",
    "test_device_upgrades.py",
    "test_packages.py",
    "test_rollout_routes.py",
    "test_rollouts.py",
    "test_schedules.py",
    "test_sources.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in LONG_ON_POSTGRES and "postgresql" in item.name:
            item.add_marker(pytest.mark.long)


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
