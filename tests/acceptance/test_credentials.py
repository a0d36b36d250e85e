"""Devices that wait for an operator, or have their identity from systemd; credentials that are replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from federating import LIGHT, WITH_LIGHT

from fedops.core import contracts as c
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.demo.federation import Federation

TASK = "tiny"
#: A new credential every second.
OFTEN = {"FEDOPS_CLIENT_CREDENTIAL_DAYS": str(1.0 / 86_400)}


@pytest.fixture
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation(tmp_path_factory.mktemp("federation"), WITH_LIGHT) as made:
        made.start_server("--approval", "manual")
        made.create_task(TASK, LIGHT)
        yield made


def token_of(federation: Federation, name: str) -> str:
    return str(json.loads((federation.device_home(name) / "device.json").read_text())["token"])


def renewals(federation: Federation, name: str) -> int:
    with federation.operator() as operator:
        events = operator.events()
    return sum(
        (e.name, e.subject) == ("device.credential_renewed", f"device {name}") for e in events
    )


def test_they_wait_join_in_and_go_on_under_new_credentials(federation: Federation) -> None:
    federation.join("ada")
    federation.join("bob")
    first = token_of(federation, "ada")
    # bob's identity is handed in by systemd, and its home holds no secret
    handed = federation.home / "credentials"
    handed.mkdir()
    (federation.device_home("bob") / "device.json").rename(handed / "fedops-device")
    federation.start_client("ada", LIGHT, TASK, **OFTEN)
    federation.start_client("bob", LIGHT, TASK, CREDENTIALS_DIRECTORY=str(handed), **OFTEN)
    with federation.operator() as operator:
        for name in ("ada", "bob"):
            waits = federation.until(f"{name} to wait", lambda n=name: online(operator.device(n)))
            assert (waits.enrolment, waits.tasks) == ("pending", [])
        for name in ("ada", "bob"):
            operator.decide_device(name, "approve")
        federation.until_ready(["ada", "bob"])
        for name in ("ada", "bob"):
            federation.until(f"{name} to join in", lambda n=name: operator.device(n).tasks or None)
        run = operator.start_run(
            TASK, c.RunStart(overrides=["num_rounds=8", "clients_per_round=2"])
        )
        ended = federation.until("the run to end", lambda: over(operator.run(run.id)), 120.0)
        assert ended.status is RunStatus.COMPLETED
        parts = [part for one in operator.rounds(run.id) for part in one.participations]
        assert {part.status for part in parts} == {"replied"}
    federation.until("a renewal", lambda: renewals(federation, "ada") >= 2 or None)
    assert token_of(federation, "ada") != first
    assert renewals(federation, "bob") == 0
    assert token_of(federation, "bob") == ""
    federation.check_parts()


def online(device: c.DeviceRead) -> c.DeviceRead | None:
    return device if device.online else None


def over(run: c.RunRead) -> c.RunRead | None:
    return run if run.status in RUN_TERMINAL else None
