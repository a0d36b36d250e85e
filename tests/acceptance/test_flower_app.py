"""The client app under stock Flower: ``flwr run .`` as device, as simulation, and on Flower's own nodes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import zipfile
from collections.abc import Iterator

import psutil
import pytest
from federating import QUIET, until
from flowering import Flower

from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation, free_port
from fedops.demo.run import find_app

#: Each test waits for conditions with limits of its own.
pytestmark = pytest.mark.timeout(600)

APP = find_app()
#: From asking for the end until nothing is left.
END_SECONDS = 5.0
#: Without a folder of MNIST these are scikit-learn's digits, everywhere.
DATA = ["dataset.fallback=digits", "dataset.download=false"]
RUN = [*DATA, "num_rounds=2", "clients_per_round=2", "batch_size=64", "random_seed=11"]
MANAGER, TRAINING = "fedopsmnist.client_manager_main", "fedopsmnist.client_main"
FINAL = re.compile(r"final model: accuracy ([0-9.]+)")


def part(index: int) -> list[str]:
    return [*DATA, f"dataset.partition.index={index}", "dataset.partition.of=2"]


def surroundings(**more: str) -> dict[str, str]:
    """Where MNIST is, if it is here: all else begins empty."""
    names = ("FEDOPS_MNIST_DIR",)
    return {**QUIET, **{name: os.environ[name] for name in names if name in os.environ}, **more}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A Server Manager with two ready tasks, and a device of the usual kind in one of them."""
    with Federation(tmp_path_factory.mktemp("federation"), QUIET) as made:
        made.start_server()
        made.create_task("mnist", APP, DATA)
        made.create_task("other", APP, DATA)
        made.join("client-0")
        made.start_client("client-0", APP, "mnist", overrides=part(0))
        yield made


@pytest.fixture(scope="module")
def machine(federation: Federation) -> Iterator[Flower]:
    """A new machine, with a token that enrols once."""
    with federation.operator() as operator:
        token = operator.create_token(c.TokenCreate(uses=1)).token
    env = surroundings(
        FEDOPS_SERVER=federation.url,
        FEDOPS_JOIN_TOKEN=token,
        FEDOPS_DEVICE_NAME="client-1",
        FEDOPS_CLIENT_RESTART_SECONDS="0.1",
    )
    with Flower(APP, env) as made:
        yield made


def devices(federation: Federation) -> list[str]:
    with federation.operator() as operator:
        return sorted(device.name for device in operator.devices())


def until_ready(federation: Federation, machine: Flower) -> None:
    """The machine is an idle device, and its two processes are there."""
    federation.until("it to enrol", lambda: "client-1" in devices(federation), 90.0)
    federation.until_ready(["client-1"], seconds=90)
    assert machine.processes(MANAGER)
    assert machine.processes(TRAINING)


def seconds_to_end(machine: Flower) -> float:
    """How long from now until both processes are gone, and all that they started."""
    began = time.monotonic()
    machine.until("both processes to end", lambda: not machine.processes(MANAGER, TRAINING), 30)
    seconds = time.monotonic() - began
    print(f"both ended within {seconds:.1f} s")
    return seconds


def test_a_bundle_holds_the_app_and_its_config(machine: Flower) -> None:
    bundle = machine.build()
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
    assert {"pyproject.toml", "README.md", "fedopsmnist/conf/config.toml"} <= names
    assert {"fedopsmnist/launcher_app.py", "fedopsmnist/client_app.py"} <= names


def test_of_several_ready_tasks_one_must_be_named(federation: Federation, machine: Flower) -> None:
    status, log = machine.ended(machine.run())
    assert status == "finished:failed"
    assert "which task?" in log
    assert "ready tasks: 'mnist', 'other'" in log, log
    assert "Traceback" not in log
    assert devices(federation) == ["client-0", "client-1"]
    assert not machine.processes(MANAGER, TRAINING)


def test_a_streamed_run_takes_part_until_ctrl_c(
    federation: Federation, machine: Flower, scores: dict[str, float]
) -> None:
    """The token is used up by now: who has enrolled does not enrol again."""
    stream = machine.stream(task_id="mnist", set=" ".join(part(1)))
    until_ready(federation, machine)
    federation.until_ready(["client-0"], seconds=60)
    with federation.operator() as operator:
        started = operator.start_run("mnist", c.RunStart(overrides=RUN))
        run = until(federation, started.id, RunStatus.COMPLETED, seconds=180)
        rounds = operator.rounds(run.id)
    assert [[p.device for p in r.participations] for r in rounds] == [["client-0", "client-1"]] * 2
    scores["task"] = run.metrics["accuracy"]
    shown = machine.shown("stream")
    assert "client manager | " in shown
    assert "training client | " in shown

    stream.send_signal(signal.SIGINT)
    assert seconds_to_end(machine) < END_SECONDS
    assert stream.wait(30) == 0
    machine.ended(machine.newest())
    assert devices(federation) == ["client-0", "client-1"]


def test_flwr_stop_ends_both_processes(federation: Federation, machine: Flower) -> None:
    run = machine.run(task_id="other", set=" ".join(part(1)))
    until_ready(federation, machine)
    with federation.operator() as operator:
        assert operator.device("client-1").tasks == ["other"]
    machine.stop(run)
    assert seconds_to_end(machine) < END_SECONDS
    status, log = machine.ended(run)
    assert status == "finished:stopped"
    assert "client manager | " in log
    assert "training client | " in log


def test_a_training_client_that_keeps_dying_fails_the_run(machine: Flower) -> None:
    run = machine.run(task_id="mnist", set=" ".join(part(1)))
    machine.until("the manager", lambda: machine.processes(MANAGER))

    def given_up() -> bool:
        for process in machine.processes(TRAINING):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return not machine.processes(MANAGER)

    machine.until("the training client to be given up", given_up)
    status, log = machine.ended(run)
    assert status == "finished:failed"
    assert "it was killed" in log.rpartition("the run failed: ")[2], log
    assert "Traceback" not in log


# --- the same federation without FedOps' server --------------------------------------------------


@pytest.fixture(scope="module")
def scores() -> dict[str, float]:
    """The accuracy that each way came to."""
    return {}


def final_accuracy(log: str) -> float:
    found = FINAL.search(log)
    assert found, log
    return float(found.group(1))


def test_a_simulation_through_ray(scores: dict[str, float]) -> None:
    with Flower(APP, surroundings()) as alone:
        status, log = alone.ended(alone.run(mode="simulation", set=" ".join(RUN)), seconds=180)
        assert status == "finished:completed", log
        scores["simulation"] = final_accuracy(log)
        alone.until("Ray to end", lambda: not alone.processes("raylet", "gcs_server"), 30)


def test_flowers_own_nodes(scores: dict[str, float]) -> None:
    port = free_port()
    with Flower(APP, surroundings()) as own:
        own.connect("own", port)
        own.part("flower-superlink", "--insecure", "--port", str(port), name="superlink")
        own.until("the SuperLink to answer", lambda: own.answers(port))
        for index in range(2):
            config = f"partition-id={index} num-partitions=2"
            node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
            node += ["--port", str(free_port()), "--node-config", config]
            own.part(*node, name=f"node-{index}")
        status, log = own.ended(own.run(mode="simulation", set=" ".join(RUN)), seconds=180)
        assert status == "finished:completed", log
        scores["deployment"] = final_accuracy(log)


def test_all_three_learn_the_same(scores: dict[str, float]) -> None:
    print(scores)
    assert set(scores) == {"task", "simulation", "deployment"}
    assert min(scores.values()) > 0.5
    assert max(scores.values()) - min(scores.values()) < 0.02
