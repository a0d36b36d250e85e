"""Devices time a round before there was one, and the first round asks the one that is fast."""

from __future__ import annotations

from pathlib import Path

from federating import LIGHT, WITH_LIGHT, part_of, until

from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation

SLOWER = {"a-slow": "6", "fast": "1"}
TASK, SECONDS = "tiny", 0.1
OVERRIDES = [
    f"train.seconds={SECONDS}",
    "num_rounds=1",
    "clients_per_round=1",
    "server.selection.selector=contribution",
]


def start_devices(federation: Federation) -> None:
    for name, slower in SLOWER.items():
        federation.join(name)
        place = part_of([*SLOWER], name)
        federation.start_client(name, LIGHT, TASK, overrides=place, TINY_SLOWER=slower)
    federation.until_ready([*SLOWER], seconds=90.0)


def files_of(federation: Federation) -> dict[Path, bytes]:
    """What the devices keep of models and rounds."""
    folders = (
        federation.device_home(name) / kept
        for name in SLOWER
        for kept in ("models", "states", "rounds", "epochs", "work")
    )
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


def test_the_first_round_goes_by_benchmarks(tmp_path: Path) -> None:
    with Federation(tmp_path, WITH_LIGHT) as federation:
        federation.start_server()
        federation.create_task(TASK, LIGHT, OVERRIDES)
        start_devices(federation)
        before = files_of(federation)
        found = c.BenchesRead.model_validate(federation.admin("device", "bench", TASK))
        assert files_of(federation) == before
        seconds = {one.device: one.round_seconds or 0.0 for one in found.benches}
        assert seconds["fast"] > SECONDS
        assert seconds["a-slow"] > max(6 * SECONDS, 2 * seconds["fast"])
        measured = [one.measured for one in found.benches]
        assert all(one and (one.examples, one.epochs) == (120, 1) for one in measured)
        shown = federation.admin("device", "bench", TASK, "--show")
        assert c.BenchesRead.model_validate(shown) == found
        with federation.operator() as operator:
            run = until(federation, operator.start_run(TASK, c.RunStart()).id, RunStatus.COMPLETED)
            decisions = {d.device: d for d in operator.selections(run.id)[0].decisions}
        assert {name: one.chosen for name, one in decisions.items()} == {
            "a-slow": False,
            "fast": True,
        }
        assert decisions["a-slow"].reason.endswith("s a round by its benchmark")
        assert decisions["fast"].parts["bench_seconds"] == seconds["fast"]
