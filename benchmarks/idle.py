"""Federations of devices that do no work, for the benchmarks: real ones, and light ones by the hundred."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from common import HERE, say
from fleet import Fleet, enrol

from fedops.core import contracts as c
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.demo.federation import Federation

APP = HERE / "apps" / "idle"
TASK = "idle"
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}

WIDTH = 12_784
#: The models, by size: what a run must override for each.
SIZES = {
    "tiny": ["model._target_=idlebench.flow.Tiny"],
    "mb1_8": [],
    "mb45": [f"model.width={WIDTH}"],
}


def model_bytes(width: int) -> int:
    """The size of the idle app's model in float32."""
    return 4 * (width * (784 + 96 + 1) + 96 + 96 * 10 + 10)


@contextmanager
def idle_federation(place: Path, devices: int) -> Iterator[Federation]:
    """A server with real devices that wait for a run."""
    names = [f"device-{number + 1:02}" for number in range(devices)]
    with Federation(place, QUIET) as federation:
        federation.start_server()
        federation.create_task(TASK, APP)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(federation.join, names))
        for name in names:
            federation.start_client(name, APP, TASK)
        federation.until_ready(names, seconds=60.0 + 20.0 * devices)
        yield federation


@contextmanager
def light_federation(
    place: Path, devices: int, *, train_seconds: float = 0.0, tls: bool = False
) -> Iterator[tuple[Federation, Fleet]]:
    """A server with light devices that wait for a run."""
    with Federation(place, QUIET, tls=tls) as federation:
        federation.start_server()
        federation.create_task(TASK, APP)
        say(f"joining {devices} light devices ...")
        tokens = enrol(federation, devices)
        log = place / "logs" / "light.log"
        with Fleet(
            federation.url,
            tokens,
            [TASK],
            log,
            train_seconds=train_seconds,
            authorities=federation.authorities,
        ) as fleet:
            fleet.until_present()
            yield federation, fleet


def run_to_end(
    federation: Federation,
    overrides: Sequence[str],
    look: Callable[[c.RunRead], None] = lambda run: None,
    pause: float = 0.5,
) -> list[c.RoundRead]:
    """The rounds of a run; ``look`` is called again and again while it lasts."""
    with federation.operator() as operator:
        run = operator.start_run(TASK, c.RunStart(overrides=list(overrides)))

        def ended() -> c.RunRead | None:
            current = operator.run(run.id)
            look(current)
            return current if current.status in RUN_TERMINAL else None

        end = federation.until("the run to end", ended, seconds=900.0, pause=pause)
        if end.status is not RunStatus.COMPLETED:
            raise SystemExit(f"the run is {end.status}: {end.why} (logs: {federation.home})")
        return operator.rounds(run.id)


def commit_times(rounds: Sequence[c.RoundRead]) -> list[float]:
    """When each round was committed, as ``time.time()``."""
    return [one.committed_at for one in rounds if one.committed_at is not None]


def round_seconds(rounds: Sequence[c.RoundRead]) -> list[float]:
    """Seconds between the commits of successive rounds: the first one is not counted."""
    return [after - before for before, after in itertools.pairwise(commit_times(rounds))]
