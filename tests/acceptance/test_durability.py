"""What is delivered stays delivered; what a disk damages is noticed, and no wrong model comes of it."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from federating import until
from ledger import Account, Ledger
from world import Setup, World, opened

from fedops.core import contracts as c
from fedops.core.states import RunStatus

NAMES = ("ada", "bob", "cleo")
ROUNDS = 2
#: A part of the first one's model stays on the device; the other is exchanged whole, as it lies in the store.
TASKS = {"mean": ["model.size=20000"], "whole": ["model.size=20000", "exchange.local=[]"]}
#: In all of this two clocks are an hour off.
CLOCKS = {"bob": -3_600.0, "cleo": 3_600.0}
RULES = (f"num_rounds={ROUNDS}", "clients_per_round=3", "server.round.min_replies=3")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(
        tmp_path_factory.mktemp("durability"), Setup(tasks=TASKS, devices=NAMES, clocks=CLOCKS)
    ) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(world: World) -> Account:
    return completed(world, world.start_run("mean", *RULES))


@pytest.fixture(autouse=True)
def quiet(world: World, undisturbed: Account) -> Iterator[None]:
    """Each test begins and ends with idle devices and no failpoint."""
    world.board.clear()
    yield
    world.board.clear()
    world.until_quiet()


def completed(world: World, run_id: int) -> Account:
    until(world.federation, run_id, RunStatus.COMPLETED, seconds=120.0)
    return account_of(world, run_id)


def account_of(world: World, run_id: int) -> Account:
    return Ledger(world.federation.server_home / "fedops.db").account(run_id)


def rows(world: World, query: str, *values: object) -> list[tuple[object, ...]]:
    path = world.federation.server_home / "fedops.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as db:
        return db.execute(query, values).fetchall()


def asked(world: World, run_id: int, round_: int) -> Counter[object]:
    """How often each device was asked to train in a round."""
    found = rows(
        world,
        "select d.name from assignments a join devices d on d.id = a.device_id"
        " where a.run_id = ? and a.round = ? and a.kind = 'train'",
        run_id,
        round_,
    )
    return Counter(name for (name,) in found)


def delivered(world: World, run_id: int) -> dict[object, Path]:
    """Device -> the file of its update, of those that are delivered in round 1."""
    found = rows(
        world,
        "select d.name, a.blob from assignments a join devices d on d.id = a.device_id"
        " where a.run_id = ? and a.round = 1 and a.delivered_at is not null",
        run_id,
    )
    return {name: world.blob(str(blob)) for name, blob in found}


def damage(path: Path, silently: bool = False) -> None:
    """Change a byte in the middle of a file where it lies. ``silently``: as a bad disk does."""
    before = path.stat()
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x10]))
    if silently:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def held_run(world: World, point: str, number: int) -> int:
    """A run that is held at the n-th pass through a point."""
    world.board.arm(point, "hold", number)
    run_id = world.start_run("mean", *RULES)
    world.federation.until(f"somebody at {point}", lambda: world.board.fired(point))
    return run_id


def test_nothing_depends_on_the_clocks_of_devices(world: World, undisturbed: Account) -> None:
    assert undisturbed.took_part == dict.fromkeys(range(1, ROUNDS + 1), NAMES)
    began, ended = undisturbed.progress[0] - 60.0, undisturbed.progress[-1] + 60.0
    with world.federation.operator() as operator:
        for name in NAMES:

            def said(device: str = name) -> list[c.LogRead]:
                return operator.run_logs(undisturbed.run_id, device=device, limit=100).entries

            lines = world.federation.until(f"lines of {name}", said)
            assert all(began < line.at < ended for line in lines)
            device = operator.device(name)
            assert device.online
            assert device.why == "online; its training client is ready"
    for name, at in rows(
        world,
        "select d.name, m.at from metrics m join devices d on d.id = m.device_id where m.run_id = ?",
        undisturbed.run_id,
    ):
        assert began < float(str(at)) < ended, name


def test_what_was_delivered_before_the_server_was_killed_is_not_trained_again(
    world: World, undisturbed: Account
) -> None:
    run_id = held_run(world, "manager.upload.begin", 3)
    world.federation.until("two deliveries", lambda: len(delivered(world, run_id)) == 2)
    world.kill("server", None)
    world.federation.stop("server")
    world.federation.start_server()
    world.board.release("manager.upload.begin")
    account = completed(world, run_id)
    assert account.final == undisturbed.final
    for round_ in range(1, ROUNDS + 1):
        assert asked(world, run_id, round_) == dict.fromkeys(NAMES, 1)
    assert world.board.passes()["client.trained"] == ROUNDS * len(NAMES)


def test_a_delivered_update_that_is_damaged_on_disk_is_asked_for_again(
    world: World, undisturbed: Account
) -> None:
    run_id = held_run(world, "engine.update.checked", 1)
    for path in all_delivered(world, run_id).values():
        damage(path)
    world.board.release("engine.update.checked")
    account = completed(world, run_id)
    assert account.final == undisturbed.final
    # One of them had been checked before: that its file has changed was seen all the same.
    assert asked(world, run_id, 1) == dict.fromkeys(NAMES, 2)
    with world.federation.operator() as operator:
        said = "\n".join(e.text for e in operator.run_logs(run_id, limit=1_000).entries)
    for name in NAMES:
        assert f"the reply of device '{name}' is refused: it was delivered whole" in said


def all_delivered(world: World, run_id: int) -> dict[object, Path]:
    def look() -> dict[object, Path] | None:
        found = delivered(world, run_id)
        return found if len(found) == len(NAMES) else None

    return world.federation.until("all deliveries", look)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_is_damaged_on_the_server_is_made_again_of_what_was_delivered(
    world: World, task: str
) -> None:
    world.board.arm("engine.commit.after", "hold", 1)
    run_id = world.start_run(task, *RULES)
    world.federation.until("round 1", lambda: world.board.fired("engine.commit.after"))
    (model,) = account_of(world, run_id).models
    damage(world.blob(str(model)), silently=True)
    world.board.release("engine.commit.after")
    account = completed(world, run_id)
    assert world.board.passes()["client.trained"] == ROUNDS * len(NAMES)
    with world.federation.operator() as operator:
        events = {event.name: event.text for event in operator.events(run_id=run_id)}
    assert "its file is damaged" in events["checkpoint.damaged"]
    assert "done again" in events["run.stepped_back"]
    # Afterwards: what was made here before, the server may have in memory still.
    assert account.final == completed(world, world.start_run(task, *RULES)).final
