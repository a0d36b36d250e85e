"""Runs over real devices: versions, two tasks at once, stop, and what a device can do wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from federating import (
    LIGHT,
    WITH_LIGHT,
    complete,
    enrol,
    kill_device,
    part_of,
    until,
    until_round,
)

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.states import ParticipationStatus, RunStatus
from fedops.demo.federation import Federation
from fedops.storage.atomic_files import sha256_of
from fedops.storage.tensors import load

NAMES = ["ada", "bob"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two devices, enrolled in the tasks ``first`` and ``faults``."""
    with Federation(tmp_path_factory.mktemp("federation"), WITH_LIGHT) as made:
        made.start_server()
        made.create_task("first", LIGHT)
        made.create_task("second", LIGHT)
        made.create_task("faults", LIGHT)
        enrol(made, NAMES, "first", "faults", app=LIGHT)
        yield made


def rounds_of(federation: Federation, run: c.RunRead) -> list[c.RoundRead]:
    with federation.operator() as operator:
        return operator.rounds(run.id)


def test_two_runs_give_two_versions_and_both_files_stay_intact(
    federation: Federation, tmp_path: Path
) -> None:
    first = complete(federation, "first", "num_rounds=2")
    second = complete(federation, "first", "num_rounds=1")
    with federation.operator() as operator:
        models = {m.version: m for m in operator.models("first")}
        assert sorted(models) == [0, 1, 2]
        assert (first.version, second.version) == (1, 2)
        assert (models[1].parent, models[2].parent) == (0, 1)
        assert "latest" in models[2].aliases
        for version, model in models.items():
            file = operator.download_model("first", f"V{version}", tmp_path / f"{version}")
            assert sha256_of(file) == model.sha256
            assert sorted(load(file)) == ["hidden.bias", "hidden.weight", "out.bias", "out.weight"]
    assert len({model.sha256 for model in models.values()}) == 3


def test_each_participation_is_on_record(federation: Federation) -> None:
    run = complete(federation, "first", "num_rounds=2")
    for record in rounds_of(federation, run):
        assert [p.device for p in record.participations] == NAMES
        for part in record.participations:
            assert part.status is ParticipationStatus.REPLIED
            assert part.examples == 120
            assert part.selection
            assert (part.bytes_up or 0) > 100
        assert record.overhead_seconds is not None
        assert record.seconds is not None
        assert 0 <= record.overhead_seconds <= record.seconds


def test_what_the_programs_said_is_kept_by_run_round_and_device(federation: Federation) -> None:
    run = complete(federation, "first", "num_rounds=2")
    with federation.operator() as operator:

        def said(**which: Any) -> str:
            return "\n".join(
                e.text for e in operator.run_logs(run.id, limit=1_000, **which).entries
            )

        def committed() -> bool:
            return "round 2 of 2 is committed" in said(source="server_app", round=2)

        federation.until("the last lines of the FL server", committed, 30.0)
        trained = f"round 2 of run {run.id}: trained on 120 examples"
        federation.until("the lines of the devices", lambda: said().count(trained) == 2, 30.0)
        assert said(device="ada", round=2, source="training_client").count(trained) == 1
        everything = said() + "".join(e.text for e in operator.device_logs("ada").entries)
    assert "HTTP Request" not in everything
    assert not re.search(r"fo_(admin|device|attempt|join)_\w", everything)


def test_the_same_seed_gives_the_same_model(federation: Federation) -> None:
    digests = set()
    for _ in range(2):
        with federation.operator() as operator:
            start = c.RunStart(overrides=["num_rounds=2", "random_seed=7"], from_version=0)
            run = until(federation, operator.start_run("first", start).id, RunStatus.COMPLETED)
            digests.add(operator.model("first", str(run.version)).sha256)
    assert len(digests) == 1


def test_stop_ends_all_training_within_five_seconds(federation: Federation) -> None:
    with federation.operator() as operator:
        start = c.RunStart(overrides=["num_rounds=50", "train.seconds=120"])
        run = operator.start_run("first", start)
        until_round(federation, run.id, 1)
        federation.admin("run", "stop", str(run.id))
        assert operator.run(run.id).status is RunStatus.STOPPED
        # By the server's clock: how long a command takes to begin on a busy machine is not what is promised.
        at = {event.name: event.at for event in operator.events(run_id=run.id)}
        assert at["run.stopped"] - at["run.stopping"] < 5.0
        assert all(d.process.status != "training" for d in operator.devices())
    complete(federation, "first", "num_rounds=1")


def test_a_training_client_and_a_whole_device_are_killed_and_the_run_completes(
    federation: Federation,
) -> None:
    """Their train function is the project's own: its work of the round begins anew."""
    with federation.operator() as operator:
        start = c.RunStart(overrides=["num_rounds=2", "train.seconds=3"])
        run = operator.start_run("first", start)
        until_round(federation, run.id, 1)
        pid = operator.device("ada").process.pid
        assert pid is not None
        psutil.Process(pid).kill()
        kill_device(federation, "bob")
        federation.start_client("bob", LIGHT, "first", "faults", overrides=part_of(NAMES, "bob"))
        ended = until(federation, run.id, RunStatus.COMPLETED)
        first = next(r for r in operator.rounds(run.id) if r.round == 1)
        ada = next(p for p in first.participations if p.device == "ada")
        assert operator.device("ada").process.restarts >= 1
        assert operator.device("ada").process.pid != pid
        last = operator.events()[-1].id if operator.events() else 0
        told = [e for e in operator.events(after=max(last - 200, 0)) if e.subject == "device ada"]
        assert any(e.name == "training_client_ended" for e in told)
    assert ended.committed_rounds == 2
    assert ada.status is ParticipationStatus.REPLIED
    assert {p.device for p in first.participations if p.status is ada.status} == set(NAMES)


def test_one_task_has_one_active_run(federation: Federation) -> None:
    with federation.operator() as operator:
        run = operator.start_run("first", c.RunStart(overrides=["train.seconds=60"]))
        with pytest.raises(FedOpsError, match=str(run.id)) as refused:
            federation.admin("run", "start", "first")
        assert refused.value.kind == "conflict"
        operator.stop_run(run.id)
    until(federation, run.id, RunStatus.STOPPED)


def test_two_tasks_at_once_each_with_its_own_devices(federation: Federation) -> None:
    enrol(federation, ["cleo", "dora"], "second", app=LIGHT)
    with federation.operator() as operator:
        slow = c.RunStart(overrides=["num_rounds=3", "train.seconds=1"])
        runs = [operator.start_run(task, slow) for task in ("first", "second")]
        both = federation.until(
            "both runs at once",
            lambda: all(operator.run(r.id).status is RunStatus.RUNNING for r in runs),
        )
        assert both
    for run, names in zip(runs, (NAMES, ["cleo", "dora"]), strict=True):
        until(federation, run.id, RunStatus.COMPLETED)
        for record in rounds_of(federation, run):
            assert [p.device for p in record.participations] == names


#: What goes wrong on a device -> what its participation says about it.
FAULTS = {
    "nan": "out.bias",
    "shape": "out.bias",
    "zero": "0",
    "negative": "-5",
    "model": "hidden",
    "raise": "the disk of this device is on fire",
}


@pytest.fixture(scope="module")
def faulty_rounds(federation: Federation) -> list[c.RoundRead]:
    """A run over the two good devices and one for each fault."""
    bad = {f"bad-{fault}": fault for fault in FAULTS}
    enrol(federation, list(bad), "faults", faults=bad, app=LIGHT)
    # Not so many clients a round, but all there are; two good replies are enough.
    rules = ["clients_per_round=", "server.round.min_replies=2"]
    run = complete(federation, "faults", "num_rounds=2", *rules)
    for name in bad:
        federation.stop(name)
    return rounds_of(federation, run)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_device_that_does_wrong_is_named_with_the_reason(
    faulty_rounds: list[c.RoundRead], fault: str
) -> None:
    parts = {p.device: p for p in faulty_rounds[0].participations}
    bad = parts[f"bad-{fault}"]
    assert bad.status in (ParticipationStatus.REJECTED, ParticipationStatus.DROPPED)
    assert FAULTS[fault] in (bad.reason or "")


def test_the_round_goes_on_with_the_others(faulty_rounds: list[c.RoundRead]) -> None:
    assert [record.round for record in faulty_rounds] == [1, 2]
    for record in faulty_rounds:
        replied = [p for p in record.participations if p.status is ParticipationStatus.REPLIED]
        assert [p.device for p in replied] == NAMES
        assert record.committed_at is not None


def test_a_round_in_which_everybody_failed_is_tried_again(federation: Federation) -> None:
    federation.create_task("again", LIGHT)
    enrol(federation, ["eve"], "again", faults={"eve": "once"}, app=LIGHT)
    run = complete(federation, "again", "num_rounds=2", "clients_per_round=1")
    for record in rounds_of(federation, run):
        assert [p.status for p in record.participations] == [ParticipationStatus.REPLIED]
