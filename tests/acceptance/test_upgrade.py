"""A server and devices of before the protocol, killed in a round, are started with today's program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from before_engine import move_to, unpack
from federating import QUIET, TINY, until

from fedops.client.device.data_dir import DataDir
from fedops.core.states import AttemptStatus, RunStatus
from fedops.demo.federation import Federation
from fedops.storage.tensors import load

NAMES = ["ada", "bob"]
TASKS = ("first", "second", "third")


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    unpack(tmp_path)
    with Federation(tmp_path, QUIET) as made:
        made.start_server()
        for index, name in enumerate(NAMES):
            move_to(made.device_home(name), made.url)
            made.join(name, token="not looked at: it has joined")
            overrides = [f"dataset.partition.index={index}", f"dataset.partition.of={len(NAMES)}"]
            made.start_client(name, TINY, *TASKS, overrides=overrides)
        made.until_ready(NAMES, seconds=90.0)
        yield made


def test_runs_of_before_end_with_the_models_they_would_have_had(
    federation: Federation, tmp_path: Path
) -> None:
    ended = until(federation, 3, RunStatus.COMPLETED)
    assert [attempt.status for attempt in ended.attempts] == [
        AttemptStatus.LOST,
        AttemptStatus.ENDED,
    ]
    with federation.operator() as operator:
        operator.resume_run(2)
        assert until(federation, 2, RunStatus.COMPLETED).committed_rounds == 3
        same_seed, ended_today = (
            load(operator.download_model(task, version, tmp_path / task))
            for task, version in (("first", "V1"), ("third", "latest"))
        )
    assert ended_today.keys() == same_seed.keys()
    for name, array in same_seed.items():  # made on another processor, which may round otherwise
        np.testing.assert_allclose(ended_today[name], array, rtol=1e-5, atol=1e-7)
    for name in NAMES:
        home = DataDir(federation.device_home(name))
        assert home.rounds.is_dir()
        assert home.device_key.exists()
    assert not (federation.server_home / "attempts").exists()
    assert not (federation.server_home / "engine" / "superlink.log").exists()
