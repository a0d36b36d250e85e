"""A device at 1 Mbit/s, 300 ms away, whose connections are cut, beside two fast ones.

``SOAK_ROUNDS`` (``make soak``): how many rounds are played without it being waited for, instead of three.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from federating import until
from ledger import Account, Ledger
from world import Setup, World, opened

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.states import ParticipationStatus, RunStatus

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "3"))
FAST, SLOW = ("ada", "bob"), "zoe"
#: It takes as long each way as a round has, when nobody waits for the slow one. Numbers of eight bytes.
SIZE, SHORT_SECONDS = 60_000, 4.0
LINK = {"rate": 1e6, "round_trip": 0.3, "cut_bytes": (150_000, 600_000), "seed": 3}
#: What is said of the slow device while it fetches, and while it delivers.
DOWNLOADING, UPLOADING = r"downloading (\d+) % of 480 kB", r"uploading (\d+) % of 481 kB"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    setup = Setup(
        tasks={"mean": [f"model.size={SIZE}", "clients_per_round="]},
        devices=(*FAST, SLOW),
        links={SLOW: LINK},
    )
    with opened(tmp_path_factory.mktemp("slow"), setup) as made:
        yield made


def completed(world: World, run_id: int) -> Account:
    until(world.federation, run_id, RunStatus.COMPLETED, seconds=60.0 + 2 * SHORT_SECONDS * ROUNDS)
    return Ledger(world.federation.server_home / "fedops.db").account(run_id)


def test_rounds_end_by_quorum_and_deadline_without_it(world: World) -> None:
    run_id = world.start_run(
        "mean", f"num_rounds={ROUNDS}", f"server.round.deadline_seconds={SHORT_SECONDS}"
    )
    with Watch(world, run_id) as watch:
        account = completed(world, run_id)
    assert account.took_part == dict.fromkeys(range(1, ROUNDS + 1), FAST)
    assert_grows(watch, DOWNLOADING)
    with world.federation.operator() as operator:
        rounds = operator.rounds(run_id)
    for round_ in rounds:
        assert SHORT_SECONDS <= (round_.seconds or 0.0) < SHORT_SECONDS + 3.0
        (slow,) = [part for part in round_.participations if part.device == SLOW]
        assert slow.status is ParticipationStatus.DROPPED
        assert slow.reason == "no reply before the deadline of the round"


def test_it_delivers_when_the_deadline_allows_and_says_how_far_it_is(world: World) -> None:
    cuts = world.networks[SLOW].cuts
    world.board.clear()
    world.board.arm("manager.upload.begin", "hold", 3)  # the slow one is the last
    run_id = world.start_run("mean", "num_rounds=1", "server.round.deadline_seconds=90")
    with Watch(world, run_id) as watch:
        world.federation.until(
            "it to wait", lambda: f"{SLOW}: waiting to upload" in watch.said, seconds=60.0
        )
        world.board.release("manager.upload.begin")
        account = completed(world, run_id)
    assert account.took_part == {1: (*FAST, SLOW)}
    assert account.retrained == 0
    assert world.networks[SLOW].cuts > cuts
    assert_grows(watch, UPLOADING)
    slowest = times_of(world, run_id)[0]
    assert slowest["sends"] > max(slowest["fetches"], 2.0)


def times_of(world: World, run_id: int) -> list[dict[str, Any]]:
    """Where the time of the first round's slowest clients went, as it was kept."""
    with closing(sqlite3.connect(world.federation.server_home / "fedops.db")) as db:
        query = "SELECT slowest FROM round_pictures WHERE run_id = ? AND round = 1"
        return list(json.loads(db.execute(query, (run_id,)).fetchone()[0]))


def assert_grows(watch: Watch, stage: str) -> None:
    """The run said how much of a transfer was done, part by part."""
    shares = [int(found) for found in re.findall(f"{SLOW}: {stage}", watch.said)]
    assert any(0 < share < 100 for share in shares), watch.said


class Watch:
    """Notes what a run says of itself, as long as this is entered."""

    def __init__(self, world: World, run_id: int) -> None:
        self._world = world
        self._run_id = run_id
        self._lines: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def said(self) -> str:
        return "\n".join(self._lines)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        with self._world.federation.operator() as operator:
            while not self._ended.wait(0.1):
                run = _read(operator.run, self._run_id)
                if run is not None and run.why not in self._lines[-1:]:
                    self._lines.append(run.why)


def _read(ask: object, run_id: int) -> c.RunRead | None:
    try:
        return ask(run_id)  # type: ignore[operator, no-any-return]
    except FedOpsError:
        return None
