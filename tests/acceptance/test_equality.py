"""The federation computes what a plain loop in memory computes, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from federating import QUIET, until

from fedops.algorithms.aggregation import weighted_mean
from fedops.core import contracts as c
from fedops.core.seeds import client_seed
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation
from fedops.demo.run import find_app
from fedops.scalize.adapter.protocol import TrainContext
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import Tensors, load

SEED = 7
ROUNDS = 2
NAMES = ["device-1", "device-2", "device-3"]
#: Without a folder of MNIST these are scikit-learn's digits, on both sides.
DATA = ["dataset.fallback=digits", "dataset.download=false"]
RUN = ["batch_size=32", f"clients_per_round={len(NAMES)}", f"num_rounds={ROUNDS}"]
RUN += [f"random_seed={SEED}", *DATA]


def device_overrides(index: int) -> list[str]:
    return [
        *DATA,
        "dataset.partition.scheme=dirichlet",
        "dataset.partition.alpha=0.5",
        f"dataset.partition.index={index}",
        f"dataset.partition.of={len(NAMES)}",
        f"dataset.partition.seed={SEED}",
    ]


def plain_fedavg() -> Tensors:
    """FedAvg as one reads it in a paper: no server, no messages, no processes."""
    torch.set_num_threads(1)
    projects = [Project.open(find_app(), RUN + device_overrides(i)) for i in range(len(NAMES))]
    weights = projects[0].make_adapter(SEED).get_tensors()
    for round_ in range(1, ROUNDS + 1):
        updates, examples = [], []
        for name, project in zip(NAMES, projects, strict=True):
            adapter = project.make_adapter(SEED)
            adapter.set_tensors(weights)
            context = TrainContext(
                round=round_,
                seed=client_seed(SEED, name, round_),
                epochs=project.config.num_epochs,
                batch_size=project.config.batch_size,
                learning_rate=project.config.learning_rate,
            )
            result = adapter.train(project.load_data().train, context)
            updates.append(adapter.get_tensors())
            examples.append(float(result.examples))
        weights = weighted_mean(updates, examples, list(weights))
    return weights


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> Tensors:
    """The global model of a run over three devices, each with its processes."""
    home = tmp_path_factory.mktemp("federation")
    with Federation(home, QUIET) as federation:
        federation.start_server()
        federation.create_task("mnist", find_app(), DATA)
        for index, name in enumerate(NAMES):
            federation.join(name)
            federation.start_client(name, find_app(), "mnist", overrides=device_overrides(index))
        federation.until_ready(NAMES)
        with federation.operator() as operator:
            run = operator.start_run("mnist", c.RunStart(overrides=RUN))
            run = until(federation, run.id, RunStatus.COMPLETED, seconds=180)
            file = operator.download_model("mnist", f"V{run.version}", Path(home) / "model")
    return load(file)


def test_the_global_model_equals_a_plain_loops_bit_for_bit(federated: Tensors) -> None:
    plain = plain_fedavg()
    assert sorted(plain) == sorted(federated)
    for name, array in plain.items():
        assert array.dtype == federated[name].dtype
        assert array.tobytes() == federated[name].tobytes(), name


def test_training_did_something(federated: Tensors) -> None:
    start = Project.open(find_app(), RUN).make_adapter(SEED).get_tensors()
    assert all(not np.array_equal(start[name], federated[name]) for name in start)
