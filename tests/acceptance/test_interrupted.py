"""Local epochs that are interrupted: a device that was killed goes on with the epoch it was at."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from federating import kill_device, until
from ledger import Ledger
from world import DEVICES, Setup, World, opened

from fedops.core.states import RunStatus

STEADY = Path(__file__).parent / "apps" / "steady"
EPOCHS, EXAMPLES = 5, 16
CUTS = 5


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each device notes the examples that it trains on."""
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, traces: Path) -> Iterator[World]:
    tasks = {"steady": [f"num_epochs={EPOCHS}", "data.pace=0.04"]}
    setup = Setup(STEADY, tasks, env={"STEADY_TRACE": str(traces)})
    with opened(tmp_path_factory.mktemp("steady"), setup) as made:
        yield made


def completed(world: World, run_id: int) -> str | None:
    until(world.federation, run_id, RunStatus.COMPLETED, seconds=120.0)
    account = Ledger(world.federation.server_home / "fedops.db").account(run_id)
    assert account.took_part == {1: DEVICES}
    assert account.retrained == 0
    return account.final


def seen(traces: Path, device: str) -> int:
    """How many examples a device has trained on so far."""
    path = traces / str(DEVICES.index(device))
    return path.stat().st_size if path.exists() else 0


def test_less_than_an_epoch_is_repeated_whatever_is_killed_and_cut(
    world: World, traces: Path
) -> None:
    start = {name: seen(traces, name) for name in DEVICES}
    undisturbed = completed(world, world.start_run("steady"))
    assert {name: seen(traces, name) - start[name] for name in DEVICES} == dict.fromkeys(
        DEVICES, EPOCHS * EXAMPLES
    )
    start = {name: seen(traces, name) for name in DEVICES}
    run_id = world.start_run("steady")
    for name, epochs in zip(DEVICES, (1.7, 3.4), strict=True):
        wanted = start[name] + epochs * EXAMPLES
        world.federation.until("training", lambda n=name, w=wanted: seen(traces, n) >= w)
        kill(world, name)
        for network in world.networks.values():
            network.cut_once()
    chance = random.Random(4)
    for network in world.networks.values():  # mostly while an update of 148 kB is on its way
        network.cut_after(*[chance.randint(2_000, 25_000) for _ in range(CUTS)])
    assert completed(world, run_id) == undisturbed
    repeated = {name: seen(traces, name) - start[name] - EPOCHS * EXAMPLES for name in DEVICES}
    assert all(0 <= count < EXAMPLES for count in repeated.values()), repeated
    assert all(network.cuts >= CUTS for network in world.networks.values())


def kill(world: World, name: str) -> None:
    """A whole device dies, and comes back as a service manager would have it."""
    kill_device(world.federation, name)
    world.start_manager(name)
