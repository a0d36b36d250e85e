"""What a run endures: a server that is away while devices train, and devices that do wrong in every way."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from federating import until, until_round
from ledger import Account, Ledger
from world import APP, DEVICES, World, opened

from fedops.core import contracts as c
from fedops.core.states import ParticipationStatus, ProcessStatus, RunStatus

AWAY_SECONDS = 6.0
#: Training goes on for about half of the time that the server is away.
SLOW = ("num_epochs=7", "num_rounds=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("endurance")) as made:
        yield made


def pids(world: World) -> list[int | None]:
    with world.federation.operator() as operator:
        return [operator.device(name).process.pid for name in DEVICES]


def completed(world: World, run_id: int) -> Account:
    """The run on record, once it is complete and the devices have said all they had to say."""
    until(world.federation, run_id, RunStatus.COMPLETED, seconds=180.0)
    world.until_quiet()
    ledger = Ledger(world.federation.server_home / "fedops.db")
    wanted = {(n, "device", name, "train_loss") for n in (1, 2) for name in DEVICES}
    world.federation.until(
        "the devices' metrics", lambda: wanted <= ledger.account(run_id).metrics.keys()
    )
    return ledger.account(run_id)


def test_training_goes_on_while_the_server_cannot_be_reached(world: World) -> None:
    run_id = world.start_run("mean", *SLOW)
    until_round(world.federation, run_id, 1)
    before = pids(world)
    for network in world.networks.values():
        network.cut()
    time.sleep(AWAY_SECONDS)
    for network in world.networks.values():
        network.mend()
    account = completed(world, run_id)
    run = world.run(run_id)
    assert run is not None
    assert len(run.attempts) == 1, "to the engine it was a long round, and nothing else"
    assert account.took_part == {1: DEVICES, 2: DEVICES}
    assert set(account.metrics.values()) == {1}
    assert pids(world) == before, "no training client was started anew"


@pytest.mark.long
def test_a_killed_server_that_stays_away_loses_nothing(world: World) -> None:
    run_id = world.start_run("mean", *SLOW)
    until_round(world.federation, run_id, 1)
    before = pids(world)
    world.kill("server", None)
    time.sleep(AWAY_SECONDS)
    world.federation.stop("server")
    world.federation.start_server()
    account = completed(world, run_id)
    assert account.took_part == {1: DEVICES, 2: DEVICES}
    assert set(account.metrics.values()) == {1}
    assert set(account.commits.values()) == {1}
    assert pids(world) == before, "no training client was started anew"


@pytest.fixture(scope="module")
def misbehaviour(world: World) -> c.RunRead:
    """A run over two good devices, one that hangs, one that eats memory; one more cannot even start."""
    federation = world.federation
    for index, fault in enumerate(("hang", "leak", "import")):
        federation.join(fault)
        if fault == "leak":
            toml = federation.device_home(fault) / "device.toml"
            toml.write_text("[limits]\nmemory_mb = 400\n")
        part = [f"dataset.partition.index={index}", "dataset.partition.of=3"]
        federation.start_client(fault, APP, "mean", overrides=part, CHAOS_FAULT=fault)
    federation.until_ready(("hang", "leak"), seconds=120.0)
    # All there are, but two good replies are enough.
    rules = ("clients_per_round=", "server.round.deadline_seconds=8", "num_rounds=1")
    run_id = world.start_run("mean", *rules)
    return until(federation, run_id, RunStatus.COMPLETED, seconds=180.0)


def test_who_hangs_or_eats_memory_is_left_out_with_the_reason(
    world: World, misbehaviour: c.RunRead
) -> None:
    with world.federation.operator() as operator:
        (record,) = operator.rounds(misbehaviour.id)
    parts = {part.device: part for part in record.participations}
    for name in DEVICES:
        assert parts[name].status is ParticipationStatus.REPLIED
    for name in ("hang", "leak"):
        assert parts[name].status is ParticipationStatus.DROPPED
        assert parts[name].reason
    assert "import" not in parts


def why_ended(world: World, device: str) -> list[str]:
    """Why a device's training client ended, each time, once the device has reported it."""
    with world.federation.operator() as operator:

        def reported() -> list[str]:
            about = (f"device {device}", "training_client_ended")
            return [e.text for e in operator.events() if (e.subject, e.name) == about]

        return world.federation.until(f"a report of {device}", reported)


@pytest.mark.long
def test_a_hanging_training_client_is_replaced_once_its_run_is_over(
    world: World, misbehaviour: c.RunRead
) -> None:
    with world.federation.operator() as operator:

        def replaced() -> bool:
            process = operator.device("hang").process
            return process.status is ProcessStatus.IDLE and process.restarts >= 1

        world.federation.until("the hanging client to be replaced", replaced, 60.0)
    assert any("went on" in text for text in why_ended(world, "hang"))


def test_who_eats_memory_is_told_the_limit_and_what_to_do(
    world: World, misbehaviour: c.RunRead
) -> None:
    text = why_ended(world, "leak")[0]
    assert "memory_mb = 400" in text
    assert "batch_size" in text


@pytest.mark.long
def test_who_crashes_at_every_start_is_given_up_with_its_last_words(
    world: World, misbehaviour: c.RunRead
) -> None:
    with world.federation.operator() as operator:

        def given_up() -> bool:
            return operator.device("import").process.status is ProcessStatus.FATAL

        world.federation.until("the crashing client to be given up", given_up, 120.0)
        device = operator.device("import")
    assert "libscience.so.3 cannot be loaded" in (device.process.reason or "")
    assert "libscience.so.3" in device.why
