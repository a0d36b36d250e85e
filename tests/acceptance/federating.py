"""What the acceptance tests share: a small app, enrolled devices, and a look at what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from fedops.core import contracts as c
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.demo.federation import Federation

TINY = Path(__file__).parent / "apps" / "tiny"
QUIET = {"OMP_NUM_THREADS": "1"}
#: As TINY, of a framework that takes no seconds to import: where the frameworks are not what is tested.
LIGHT = TINY.with_name("light")
#: The environment in which FedOps finds that framework.
WITH_LIGHT = {**QUIET, "PYTHONPATH": str(Path(__file__).parent / "light_framework")}
#: Ending everything takes a moment: SIGTERM first, SIGKILL after the grace.
GONE_SECONDS = 10.0
#: What a run is waited for. On an idle machine it takes a tenth of this.
RUN_SECONDS = 150.0


def enrol(
    federation: Federation,
    names: Sequence[str],
    *tasks: str,
    faults: Mapping[str, str] | None = None,
    app: Path = TINY,
) -> None:
    """Join devices and start their clients; returns when all are idle."""
    for name in names:
        federation.join(name)
        overrides = part_of(names, name)
        fault = (faults or {}).get(name, "")
        federation.start_client(name, app, *tasks, overrides=overrides, TINY_FAULT=fault)
    federation.until_ready(names, seconds=60.0 + 15.0 * len(names))


def part_of(names: Sequence[str], name: str) -> list[str]:
    """Which part of the data a device has, as options of its client."""
    index = list(names).index(name)
    return [f"dataset.partition.index={index}", f"dataset.partition.of={len(names)}"]


def kill_device(federation: Federation, name: str) -> None:
    """Its Client Manager and its training client, at once; returns when they are gone."""
    part = federation.parts[name]
    manager = part.root()
    assert manager is not None
    for process in [*manager.children(recursive=True), manager]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    federation.until(f"the end of {name}", lambda: not part.running)
    federation.stop(name)


def until(
    federation: Federation, run_id: int, *wanted: RunStatus, seconds: float = RUN_SECONDS
) -> c.RunRead:
    """The run, once it is in one of the states wanted; ends early when it is terminal."""
    with federation.operator() as operator:

        def look() -> c.RunRead | None:
            run = operator.run(run_id)
            return run if run.status in {*wanted, *RUN_TERMINAL} else None

        run = federation.until(f"run {run_id} to be {wanted}", look, seconds)
    assert run.status in wanted, f"run {run_id} is {run.status}: {run.why}"
    return run


def complete(federation: Federation, task: str, *overrides: str) -> c.RunRead:
    """Run a task to its end."""
    with federation.operator() as operator:
        run = operator.start_run(task, c.RunStart(overrides=list(overrides)))
    return until(federation, run.id, RunStatus.COMPLETED)


def until_round(federation: Federation, run_id: int, round_: int) -> None:
    """Wait until devices train in a round."""
    with federation.operator() as operator:

        def training() -> bool:
            return f"round {round_} of" in (why := operator.run(run_id).why) and "training" in why

        federation.until(f"round {round_} of run {run_id}", training, RUN_SECONDS)


def processes_of(home: Path) -> list[str]:
    """The command lines of all processes that have to do with a directory."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if str(home) in words or str(home) in process.cwd():
                found.append(f"{process.pid} {words}")
        except psutil.Error:
            continue
    return found


def until_gone(home: Path) -> list[str]:
    """What is still there of a directory's processes after the time they have to end."""
    deadline = time.monotonic() + GONE_SECONDS
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
