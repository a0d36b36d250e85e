"""The worker: repeats, wakes, survives what a step raises, and ends."""

from __future__ import annotations

import logging
import threading

import pytest

from fedops.core.errors import Unavailable
from fedops.server.jobs.periodic import PeriodicJob


def test_it_wakes_at_once_and_ends() -> None:
    stepped = threading.Semaphore(0)
    worker = PeriodicJob("test", stepped.release, seconds=3600)
    worker.start()
    assert stepped.acquire(timeout=5)
    worker.wake()
    assert stepped.acquire(timeout=5)
    worker.end()
    worker.join(5)
    assert worker.ending


def test_it_repeats_by_itself() -> None:
    stepped = threading.Semaphore(0)
    worker = PeriodicJob("test", stepped.release, seconds=0.01)
    worker.start()
    for _ in range(3):
        assert stepped.acquire(timeout=5)
    worker.end()
    worker.join(5)


def test_it_goes_on_after_errors_and_complains_once(caplog: pytest.LogCaptureFixture) -> None:
    stepped, calls = threading.Semaphore(0), iter(range(100))

    def step() -> None:
        stepped.release()
        number = next(calls)
        if number < 3:
            raise Unavailable("the engine is away")
        if number == 3:
            raise KeyError("a bug")

    worker = PeriodicJob("test", step, seconds=0.01)
    with caplog.at_level(logging.WARNING, "fedops.server.worker"):
        worker.start()
        for _ in range(5):
            assert stepped.acquire(timeout=5)
        worker.end()
        worker.join(5)
    assert [r.getMessage() for r in caplog.records] == [
        "test: the engine is away",
        "test: a step failed; the next one follows",
    ]


def test_joining_one_that_never_started_is_harmless() -> None:
    worker = PeriodicJob("test", lambda: None, seconds=1)
    worker.end()
    worker.join(1)
