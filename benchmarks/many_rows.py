"""A database as large as one gets, written row by row without a server: for what reads it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from common import say
from many_metrics import put_metrics
from many_sizes import (
    BIG_RUN,
    BIG_TASK,
    DEVICES,
    EVENTS,
    LOGS,
    ROUNDS,
    RUNS,
    RUNS_A_VERSION,
    SMALL_ROUNDS,
    TASKS,
    device_id,
)
from sqlalchemy import Table, insert

from fedops.config.schema import Config
from fedops.core.contracts import DeviceInfo, ProcessReport
from fedops.core.states import (
    AssignmentStatus,
    AttemptStatus,
    Enrolment,
    ParticipationStatus,
    ProcessStatus,
    RunStatus,
    TaskStatus,
)
from fedops.server.database import tables as t
from fedops.server.database.database import Database
from fedops.server.pictures.cells import Cell
from fedops.server.pictures.round_times import ClientTime, slowest

_CHUNK = 5_000


def fill(db: Database, now: float) -> None:
    """All of it. The tables are there, and empty."""
    random.seed(1)
    began = time.perf_counter()
    steps = [_files, _tasks, _devices, _runs, _rounds]
    steps += [_participations, _pictures, _work, _versions, _rest]
    for step in steps:
        for model, rows in step(now):
            count = _put(db, model.__table__, rows)
            say(f"{count:,} {model.__tablename__} ({time.perf_counter() - began:.0f} s)")
    count = put_metrics(Path(db.url.database or ""), now)
    say(f"{count:,} metrics ({time.perf_counter() - began:.0f} s)")


_Rows = Iterator[tuple[Any, Iterable[dict[str, Any]]]]
_SHA = "ab" * 32


def _put(db: Database, table: Table, rows: Iterable[dict[str, Any]]) -> int:
    count, some = 0, []
    with db.write() as session:
        for row in rows:
            some.append(row)
            if len(some) == _CHUNK:
                session.execute(insert(table), some)
                count, some = count + len(some), []
        if some:
            session.execute(insert(table), some)
    return count + len(some)


def _name(kind: str, number: int) -> str:
    return f"{kind}-{number:04}" if kind == "device" else f"{kind}-{number:02}"


def _task_of(run: int) -> str:
    return _name("task", (run - 1) % TASKS + 1)


def _files(now: float) -> _Rows:
    yield t.ArtifactRow, [{"sha256": _SHA, "size": 1_000_000, "created_at": now}]
    yield t.BundleRow, [{"sha256": _SHA, "package": "app", "created_at": now}]


def _config() -> dict[str, Any]:
    return json.loads(Config().model_dump_json())


def _tasks(now: float) -> _Rows:
    yield (
        t.TaskRow,
        [
            {
                "name": _name("task", number),
                "status": TaskStatus.READY,
                "description": "of a benchmark",
                "bundle": _SHA,
                "overrides": [],
                "config": _config(),
                "next_version": RUNS // TASKS // RUNS_A_VERSION + 1,
                "created_at": now - 1e7,
                "updated_at": now - 1e6,
            }
            for number in range(1, TASKS + 1)
        ],
    )


def _devices(now: float) -> _Rows:
    info = DeviceInfo(hostname="host", platform="Linux", python="3.11", cpus=4).model_dump()
    process = ProcessReport(status=ProcessStatus.IDLE, pid=7, task=BIG_TASK)
    said = process.model_dump(mode="json")
    numbers = range(1, DEVICES + 1)
    yield (
        t.DeviceRow,
        (
            {
                "id": device_id(number),
                "name": _name("device", number),
                "public_key": f"ecdsa-sha2-nistp384 {number}",
                "fingerprint": f"{number:064x}",
                "enrolment": Enrolment.APPROVED,
                "info": info,
                "created_at": now - 1e6 + number,
                "decided_at": now - 1e6 + number,
                "node_number": number,
                "last_heartbeat_at": now if number % 10 else now - 4_000,
                "present_until": now + 1e7 if number % 10 else now - 3_000,
                "noted_online": bool(number % 10),
                "process": said,
                "process_at": now - 60,
                "problems": [],
                "tags": ["ward"] if number % 3 else [],
            }
            for number in numbers
        ),
    )
    yield (
        t.MembershipRow,
        (
            {"device_id": device_id(number), "task": task, "since": now - 1e6}
            for number in numbers
            for task in {BIG_TASK, _name("task", number % TASKS + 1)}
        ),
    )
    yield (
        t.PresenceRow,
        (
            {
                "device_id": device_id(n),
                "since": now - 86_400 * day - n,
                "until": now - 86_400 * day,
            }
            for n in numbers
            for day in range(1, 31)
        ),
    )


def _runs(now: float) -> _Rows:
    config = _config()
    yield (t.RunRow, (_run(number, config, now) for number in range(1, RUNS + 1)))
    yield (
        t.AttemptRow,
        (
            {
                "run_id": number,
                "number": 1,
                "status": AttemptStatus.RUNNING if number == BIG_RUN else AttemptStatus.ENDED,
                "pid": 100,
                "started_at": now - 3_600,
                "ended_at": None if number == BIG_RUN else now - 3_000,
            }
            for number in range(1, RUNS + 1)
        ),
    )


def _run(number: int, config: dict[str, Any], now: float) -> dict[str, Any]:
    big, failed = number == BIG_RUN, number % 13 == 0
    begun = now - 3_600 if big else now - 1e7 + 900.0 * number
    rounds = ROUNDS if big else SMALL_ROUNDS
    ended = RunStatus.FAILED if failed else RunStatus.COMPLETED
    return {
        "id": number,
        "task": _task_of(number),
        "status": RunStatus.RUNNING if big else ended,
        "status_since": begun if big else begun + 600,
        "text": "" if big else "it has ended",
        "bundle": _SHA,
        "config": config,
        "overrides": [],
        "seed": number,
        "rounds": rounds + 1 if big else rounds,
        "committed_rounds": rounds,
        "refused": {},
        "metrics": {"accuracy": 0.9, "loss": 0.3},
        "current_attempt": 1,
        "created_at": begun,
        "started_at": begun,
        "ended_at": None if big else begun + 600,
    }


def _rounds(now: float) -> _Rows:
    def rows() -> Iterator[dict[str, Any]]:
        for run in range(1, RUNS + 1):
            last = ROUNDS if run == BIG_RUN else SMALL_ROUNDS
            for number in range(1, last + 1):
                at = now - 15.0 * (last - number)
                yield {
                    "run_id": run,
                    "round": number,
                    "attempt": 1,
                    "started_at": at - 15,
                    "committed_at": at,
                    "model": _SHA,
                    "seconds": 14.0,
                    "overhead_seconds": 0.4,
                    "timing": {"training": 13.0, "aggregating": 0.5},
                    "metrics": {"accuracy": 1 - 1 / (number + 1), "loss": 1 / number},
                    "client_metrics": {"accuracy": 1 - 1 / (number + 2)},
                    "train_metrics": {"loss": 1 / number},
                }
        yield {
            "run_id": BIG_RUN,
            "round": ROUNDS + 1,
            "attempt": 1,
            "started_at": now - 5,
            "timing": {},
            "metrics": {},
            "client_metrics": {},
            "train_metrics": {},
            **dict.fromkeys(("committed_at", "model", "seconds", "overhead_seconds")),
        }

    yield t.RoundRow, rows()


def _participations(now: float) -> _Rows:
    statuses = [ParticipationStatus.REPLIED] * 19 + [ParticipationStatus.DROPPED]
    yield (
        t.ParticipationRow,
        (
            {
                "run_id": BIG_RUN,
                "round": number,
                "attempt": 1,
                "device_id": device_id(device),
                "status": random.choice(statuses),
                "selection": "all of them",
                "examples": 600,
                "seconds": 10 + random.random(),
                "bytes_up": 1_000_000,
                "metrics": {"train_loss": 1 / number},
            }
            for number in range(1, ROUNDS + 1)
            for device in range(1, DEVICES + 1)
        ),
    )


def _pictures(now: float) -> _Rows:
    """What the commit of each of its rounds kept for pages."""
    places = (
        {"run_id": BIG_RUN, "device_id": device_id(n), "place": n - 1}
        for n in range(1, DEVICES + 1)
    )
    yield t.RunPlaceRow, places
    yield t.RoundPictureRow, (_picture(number) for number in range(1, ROUNDS + 1))


def _picture(number: int) -> dict[str, Any]:
    late = [Cell.REPLIED] * 19 + [Cell.LATE]
    works = ((device_id(n), 10.0 + n / DEVICES) for n in range(1, DEVICES + 1))
    times = (ClientTime(device, 1.0, seconds, 0.5, 0.5) for device, seconds in works)
    spread = [number / 400 + part / 20 for part in range(7)]
    return {
        "run_id": BIG_RUN,
        "round": number,
        "cells": bytes(random.choices(late, k=DEVICES)),
        "spread": {"train_loss": spread, "train_accuracy": spread},
        "slowest": slowest(times),
    }


def _work(now: float) -> _Rows:
    """What the devices do in the round that goes on."""
    yield (
        t.InstructionRow,
        [{"id": _SHA, "run_id": BIG_RUN, "content": "{}", "created_at": now - 5}],
    )
    yield (
        t.AssignmentRow,
        (
            {
                "id": device_id(number),
                "device_id": device_id(number),
                "kind": "train",
                "task": BIG_TASK,
                "run_id": BIG_RUN,
                "attempt": 1,
                "round": ROUNDS + 1,
                "instruction": _SHA,
                "encodings": ["none"],
                "status": AssignmentStatus.ACCEPTED,
                "offered_at": now - 5,
                "deadline_at": now + 1e6,
                "upload_grace": 60.0,
                "accepted_at": now - 4,
                "stage": "training",
                "done": number % 10,
                "total": 10,
            }
            for number in range(1, DEVICES + 1)
            if number % 10
        ),
    )


def _versions(now: float) -> _Rows:
    numbers = range(1, RUNS // TASKS // RUNS_A_VERSION + 1)
    yield (
        t.ModelVersionRow,
        (
            {
                "task": _name("task", task),
                "version": version,
                # of a run of the same task
                "run_id": task + TASKS * version,
                "round": SMALL_ROUNDS,
                "parent": version - 1 if version > 1 else None,
                "sha256": _SHA,
                "contract": {"parameters": []},
                "metrics": {"accuracy": 0.8 + version / 100, "loss": 0.3},
                "lineage": {},
                "created_at": now - 1e6 + version,
            }
            for task in range(1, TASKS + 1)
            for version in numbers
        ),
    )
    yield (
        t.AliasRow,
        (
            {"task": _name("task", n), "name": "production", "version": 3, "moved_at": now}
            for n in range(1, TASKS + 1)
        ),
    )


def _rest(now: float) -> _Rows:
    yield (
        t.EventRow,
        (
            {
                "at": now - EVENTS + number,
                "who": "engine",
                "subject": f"run {(run := number % RUNS + 1)}",
                "name": "round.committed",
                "text": f"round {number % 10 + 1} of run {run}",
                "data": {},
                "run_id": BIG_RUN if number % 20 == 0 else run,
            }
            for number in range(EVENTS)
        ),
    )
    yield (
        t.LogRow,
        (
            {
                "book": f"run {BIG_RUN}",
                "record_id": str(number),
                "source": "training_client",
                "run_id": BIG_RUN,
                "attempt": 1,
                "round": number % ROUNDS + 1,
                "device_id": device_id(number % DEVICES + 1),
                "text": "INFO fedops.training: trained on 600 examples " + "x" * 400,
                "size": 450,
                "at": now - LOGS + number,
            }
            for number in range(LOGS)
        ),
    )
