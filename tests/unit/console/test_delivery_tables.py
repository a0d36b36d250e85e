"""The delivery of a task on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fedops.console.deliveries import delivery_view, is_settled, is_well
from fedops.core import contracts as c
from fedops.core.states import DeploymentHealth, DeploymentStatus, RolloutStatus

H, D, R = DeploymentHealth, DeploymentStatus, RolloutStatus
A, B = "a" * 40, "b" * 40


def _device(name: str, health: H = H.HEALTHY, status: D = D.ACTIVE) -> c.DeploymentRead:
    return c.DeploymentRead(
        device=name,
        desired=B,
        actual=B if health is H.HEALTHY else A,
        synced=health is H.HEALTHY,
        health=health,
        status=status,
        since=None,
        why="as it is",
    )


def _delivery(status: R, *devices: c.DeploymentRead) -> c.DeliveryRead:
    rollout = c.RolloutRead(
        id=1,
        task="mnist",
        commit=B,
        status=status,
        wave=1,
        why="because",
        previous=A,
        policy=c.RolloutPolicy(),
        created_at=0.0,
        since=0.0,
        ended_at=0.0 if status is R.STOPPED else None,
    )
    return c.DeliveryRead(
        task="mnist",
        source=None,
        commits=[],
        rollout=rollout,
        deployments=list(devices),
        runs_use=A,
    )


def _shown(found: c.DeliveryRead) -> str:
    console = Console(file=io.StringIO(), width=120)
    for part in delivery_view(found):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_of_many_devices_those_that_are_not_in_order_are_shown() -> None:
    many = [_device(f"d{number:03}") for number in range(100)]
    text = _shown(_delivery(R.WAVING, *many, _device("pi", H.STALLED, D.FETCHING)))
    assert "100 of 101 run what is wanted; 1 stalled" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("pi "))
    assert row == [
        "pi",
        "bbbbbbb",
        "aaaaaaa",
        "out",
        "of",
        "sync",
        "stalled",
        "-",
        "as",
        "it",
        "is",
    ]
    assert "d042" not in text
    assert "100 devices that are in order are not shown; --json has all" in text


@pytest.mark.parametrize(
    ("status", "health", "settled", "well"),
    [
        (R.WAVING, H.HEALTHY, False, False),
        (R.PAUSED, H.PROGRESSING, True, False),
        (R.HOLDING, H.PROGRESSING, False, True),
        (R.HOLDING, H.WAITING, True, True),
        (R.HOLDING, H.HEALTHY, True, True),
        (R.STOPPED, H.PROGRESSING, False, False),
        (R.STOPPED, H.HEALTHY, True, False),
    ],
)
def test_when_there_is_nothing_more_to_wait_for(
    status: R, health: H, settled: bool, well: bool
) -> None:
    found = _delivery(status, _device("pi", health, D.WAITING))
    assert (is_settled(found), is_well(found)) == (settled, well)


def test_a_device_on_which_it_failed_is_no_good_end() -> None:
    assert not is_well(_delivery(R.HOLDING, _device("pi", H.DEGRADED, D.ROLLED_BACK)))
