"""Seconds of a round that does no work: FedOps beside stock Flower, in the same run, on this machine.

Two devices and a model of 1.8 MB; the durable commit is part of the round. What is left of a round when
nobody trains is what the platform costs.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from common import HERE, median, options, report, running, say
from idle import QUIET, idle_federation, round_seconds, run_to_end
from stock import stock_flower

from fedops.demo.federation import free_port
from fedops.processes.spawn import clean_env

DEVICES = 2
MUST_SECONDS, MUST_RATIO = 0.1, 10.0


def fedops_rounds(place: Path, rounds: int) -> list[float]:
    """Seconds between the commits of successive rounds of a FedOps run."""
    with idle_federation(place, DEVICES) as federation:
        return round_seconds(run_to_end(federation, [f"num_rounds={rounds}"]))


def stock_rounds(place: Path, rounds: int) -> list[float]:
    """Seconds of the rounds of ``FedAvg.start``, but for the first."""
    with stock_flower(place, DEVICES) as stock:
        ticks = stock.rounds(rounds, "mb1_8", evaluate=True)
    return [after - before for before, after in itertools.pairwise(ticks)][1:]


def legacy_rounds(place: Path, rounds: int) -> list[float]:
    """Seconds of the rounds of the deprecated ``start_server`` with its gRPC clients."""
    place.mkdir()
    script, port = str(HERE / "legacy.py"), str(free_port())
    env = {**QUIET, "PYTHONPATH": str(HERE / "apps" / "stock")}
    with ExitStack() as stack:
        for _ in range(DEVICES):
            client = [sys.executable, script, "client", port, str(rounds)]
            stack.enter_context(running(client, place / "client.log", env))
        server = [sys.executable, script, "server", port, str(rounds)]
        done = subprocess.run(
            server, env=clean_env(env), check=True, capture_output=True, text=True
        )
    return list(json.loads(done.stdout.splitlines()[-1]))[1:]


WAYS = {
    "FedOps": (fedops_rounds, 8),
    "flower-supernode + FedAvg.start": (stock_rounds, 1),
    "start_server (deprecated gRPC)": (legacy_rounds, 4),
}


def main() -> None:
    """Measure all ways one after the other; the first round of each is not counted."""
    chosen = options(__doc__ or "").parse_args()
    base = 3 if chosen.quick else 6
    rows = []
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        for number, (way, (measure, factor)) in enumerate(WAYS.items()):
            say(f"{way} ...")
            seconds = measure(Path(place) / str(number), base * factor)
            rows.append(
                {
                    "way": way,
                    "rounds": len(seconds),
                    "median_s": median(seconds),
                    "min_s": min(seconds),
                    "max_s": max(seconds),
                }
            )
    seconds, ratio = rows[0]["median_s"], rows[1]["median_s"] / rows[0]["median_s"]
    result = {
        "benchmark": "round_overhead",
        "what": "a round without work, 1.8 MB model, 2 devices, loopback",
        "rows": rows,
        "round_seconds": seconds,
        "stock_to_fedops": ratio,
        "to_start_server": seconds / rows[2]["median_s"],
        "ok": seconds <= MUST_SECONDS and ratio >= MUST_RATIO,
        "notes": [
            f"FedOps: {seconds:.3f} s (promised: {MUST_SECONDS} s or less), 1/{ratio:.0f} of stock "
            f"Flower's time (promised: 1/{MUST_RATIO:.0f} or less)."
        ],
    }
    report(result, chosen.json, ("Way", "Rounds", "Median s", "Min s", "Max s"))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
