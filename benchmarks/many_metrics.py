"""Millions of metric rows, written without SQLAlchemy: that would take most of the time."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from many_sizes import (
    BIG_RUN,
    DEVICES,
    METRICS,
    NAMES,
    ROUNDS,
    RUNS,
    SMALL_ROUNDS,
    device_id,
)


def put_metrics(file: Path, now: float) -> int:
    """The first run has one of each name, round and device; the others share the rest."""
    connection = sqlite3.connect(file)
    query = (
        "INSERT INTO metrics (run_id, round, device_id, source, name, value, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'metrics' "
        "AND sql IS NOT NULL"
    ).fetchall()
    connection.execute("PRAGMA cache_size = -400000")
    with connection:  # an index that is made at the end takes a quarter of the time
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.executemany(query, _big_metrics(now))
        big = ROUNDS * DEVICES * len(NAMES)
        connection.executemany(query, _small_metrics(METRICS - big, now))
        for _, made in indexes:
            connection.execute(made)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return METRICS


_Metric = tuple[int, int, str | None, str, str, float, float]


def _big_metrics(now: float) -> Iterator[_Metric]:
    for number in range(1, ROUNDS + 1):
        for device in range(1, DEVICES + 1):
            for name in NAMES:
                yield BIG_RUN, number, device_id(device), "device", name, random.random(), now


def _small_metrics(count: int, now: float) -> Iterator[_Metric]:
    for index in range(count):
        run, within = BIG_RUN + 1 + index % (RUNS - 1), index // (RUNS - 1)
        name, number = NAMES[within % len(NAMES)], within % SMALL_ROUNDS + 1
        yield run, number, device_id(index % DEVICES + 1), "device", name, random.random(), now
