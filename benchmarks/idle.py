"""A federation of devices that do no work, for the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from common import HERE

from fedops.core import contracts as c
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.demo.federation import Federation

APP = HERE / "apps" / "idle"
TASK = "idle"
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def idle_federation(place: Path, devices: int) -> Iterator[Federation]:
    """A server with devices that wait for a run."""
    names = [f"device-{number + 1:02}" for number in range(devices)]
    with Federation(place, QUIET) as federation:
        federation.start_server()
        federation.create_task(TASK, APP)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(federation.join, names))
        for name in names:
            federation.start_client(name, APP, TASK)
        federation.until_online(names, seconds=60.0 + 20.0 * devices)
        yield federation


def run_to_end(
    federation: Federation, overrides: Sequence[str], look: Callable[[], None] = lambda: None
) -> list[c.RoundRead]:
    """The rounds of a run; ``look`` is called again and again while it lasts."""
    with federation.operator() as operator:
        run = operator.start_run(TASK, c.RunStart(overrides=list(overrides)))

        def ended() -> c.RunRead | None:
            look()
            current = operator.run(run.id)
            return current if current.status in RUN_TERMINAL else None

        end = federation.until("the run to end", ended, seconds=900.0)
        if end.status is not RunStatus.COMPLETED:
            raise SystemExit(f"the run is {end.status}: {end.why} (logs: {federation.home})")
        return operator.rounds(run.id)
