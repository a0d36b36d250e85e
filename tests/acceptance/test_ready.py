"""Ready means ready: a device without its data is not asked, says why, and joins in once it has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from federating import LIGHT, WITH_LIGHT, until

from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation

TASK, NAMES = "tiny", ("ada", "bob")
#: The data step reads a number from the device's folder.
LOAD = """
def load_data(root, partition_index=0):
    with open(os.path.join(root, "seed.txt")) as file:
        partition_index = int(file.read())
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apps") / "light"
    shutil.copytree(LIGHT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    flow = folder / "lightapp" / "flow.py"
    text = flow.read_text()
    assert "\ndef load_data(partition_index=0):\n" in text
    flow.write_text(text.replace("\ndef load_data(partition_index=0):\n", LOAD))
    return folder


def data_of(federation: Federation, name: str) -> Path:
    return federation.device_home(name).parent / f"data-of-{name}"


def give_data(federation: Federation, name: str, text: str = "1") -> None:
    """Put a device's data where it looks for it, whole at once."""
    folder = data_of(federation, name)
    new = folder.with_name(f"new-{name}")
    new.mkdir()
    (new / "seed.txt").write_text(text)
    os.rename(new, folder)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, app: Path) -> Iterator[Federation]:
    """Two devices, of which "bob" has no data."""
    with Federation(tmp_path_factory.mktemp("federation"), WITH_LIGHT) as made:
        made.start_server()
        made.create_task(TASK, app, ["server.round.start_grace_seconds=600"])
        for name in NAMES:
            made.join(name)
        give_data(made, "ada")
        for name in NAMES:
            root = f"dataset.root={data_of(made, name)}"
            made.start_client(name, app, TASK, overrides=[root])
        yield made


def entry(federation: Federation, name: str, status: str) -> c.Readiness:
    """What the device says of the task, once it says this."""
    with federation.operator() as operator:

        def said() -> list[c.Readiness]:
            found = operator.device(name).process.readiness
            return [one for one in found if one.task == TASK and one.status == status]

        return federation.until(f"{name} to be {status}", said, 120.0)[0]


def test_a_device_without_data_is_not_ready_before_during_and_after(federation: Federation) -> None:
    entry(federation, "ada", "ready")
    missing = f"the data folder {data_of(federation, 'bob')} (dataset.root) does not exist"
    assert entry(federation, "bob", "refused").reason.startswith(missing)
    status = federation.command("client", "status", "--home", str(federation.device_home("bob")))
    assert status["why"].startswith(f"not ready: {missing}")
    assert any(missing in line for line in federation.admin("status")["attention"])
    with federation.operator() as operator:
        assert operator.device("ada").why == "online; its training client is ready"
        assert operator.device("bob").why.startswith(f"online, but not ready: {missing}")
        run = operator.start_run(TASK, c.RunStart(overrides=["num_rounds=2"]))
        federation.until(
            "the run to say whom it waits for",
            lambda: f"bob: not ready: {missing}" in operator.run(run.id).why,
            60.0,
        )
        assert operator.rounds(run.id) == []  # nobody was asked in vain
    give_data(federation, "bob")
    ended = until(federation, run.id, RunStatus.COMPLETED, seconds=120.0)
    with federation.operator() as operator:
        for record in operator.rounds(ended.id):
            assert {p.device: p.status.value for p in record.participations} == dict.fromkeys(
                NAMES, "replied"
            )
        names = [e.name for e in operator.events() if e.subject == "device bob"]
    assert [name for name in names if name.endswith("ready")] == [
        "device.not_ready",
        "device.ready",
    ]
    entry(federation, "bob", "ready")


def test_data_that_vanishes_between_rounds_is_noticed(federation: Federation) -> None:
    entry(federation, "bob", "ready")
    shutil.rmtree(data_of(federation, "bob"))
    assert "does not exist" in entry(federation, "bob", "refused").reason
    give_data(federation, "bob", "not a number")
    with federation.operator() as operator:
        federation.until(
            "the reason to be another one",
            lambda: "invalid literal" in operator.device("bob").why,
            60.0,
        )
    shutil.rmtree(data_of(federation, "bob"))
    give_data(federation, "bob", "2")
    entry(federation, "bob", "ready")


def test_a_refusal_in_a_run_stays_until_the_device_has_done_it(federation: Federation) -> None:
    """The run's own config asks ``ada`` and ``bob`` for what only a round finds out."""
    wrong = ["num_rounds=1", "train.seconds=soon"]
    with federation.operator() as operator:
        run = operator.start_run(TASK, c.RunStart(overrides=wrong))
        until(federation, run.id, RunStatus.FAILED, seconds=120.0)
        for name in NAMES:
            federation.until(
                f"{name} to say what it could not do",
                lambda n=name: f"could not do round 1 of run {run.id}" in operator.device(n).why,
                60.0,
            )
        again = operator.start_run(TASK, c.RunStart(overrides=["num_rounds=1"]))
        until(federation, again.id, RunStatus.COMPLETED, seconds=120.0)
        (record,) = operator.rounds(again.id)
        assert {p.device: p.status.value for p in record.participations} == dict.fromkeys(
            NAMES, "replied"
        )
        for name in NAMES:
            federation.until(
                f"{name} to be as before",
                lambda n=name: operator.device(n).why == "online; its training client is ready",
                60.0,
            )
