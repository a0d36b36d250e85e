"""Memory of the server side while it collects and aggregates updates of a 45 MB model.

Counted is all that the server runs: Server Manager, SuperLink, ServerApp. Each device waits two seconds a
round, so that every round has a quiet time: what is above the least of it is what the round needs.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psutil
from common import options, report, say
from idle import idle_federation, run_to_end

from fedops.demo.federation import Federation

MB = 1e6
WIDTH = 12_784
MODEL_BYTES = 4 * (WIDTH * (784 + 96 + 1) + 96 + 96 * 10 + 10)
FEW, MANY = 3, 12


class Meter(threading.Thread):
    """The resident bytes of a process tree, sampled until ``done``."""

    def __init__(self, root: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._root, self.samples, self.done = root, [], threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            self.samples.append(self._now())

    def _now(self) -> int:
        total = 0
        with suppress(psutil.Error):
            for process in [self._root, *self._root.children(recursive=True)]:
                with suppress(psutil.Error):
                    total += process.memory_info().rss
        return total


def measure(place: Path, devices: int, rounds: int) -> dict[str, float]:
    """Least and most bytes of the server side, from the second round on."""
    with idle_federation(place, devices) as federation:
        meter = Meter(server_root(federation))

        def start_after_first_round() -> None:
            if not meter.is_alive() and committed(federation) >= 1:
                meter.start()

        overrides = [f"num_rounds={rounds}", f"clients_per_round={devices}"]
        settings = [f"model.width={WIDTH}", "train.seconds=2"]
        run_to_end(federation, [*overrides, *settings], start_after_first_round)
        meter.done.set()
        meter.join()
    # The run's end takes the ServerApp away; it is no quiet time.
    alive = [sample for sample in meter.samples if sample > 0.5 * max(meter.samples)]
    return {"idle": min(alive), "peak": max(alive)}


def server_root(federation: Federation) -> psutil.Process:
    root = federation.parts["server"].root()
    if root is None:
        raise SystemExit("the server is gone")
    return root


def committed(federation: Federation) -> int:
    """Rounds of the latest run that count."""
    with federation.operator() as operator:
        runs = operator.runs(limit=1)
    return runs[0].committed_rounds if runs else 0


def main() -> None:
    """A few clients and many, one after the other."""
    chosen = options(__doc__ or "").parse_args()
    rounds = 3 if chosen.quick else 5
    rows = []
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        for devices in (FEW, MANY):
            say(f"{devices} clients ...")
            found = measure(Path(place) / str(devices), devices, rounds)
            above = found["peak"] - found["idle"]
            rows.append(
                {
                    "clients": devices,
                    "idle_mb": found["idle"] / MB,
                    "peak_mb": found["peak"] / MB,
                    "above_idle_mb": above / MB,
                    "models": above / MODEL_BYTES,
                }
            )
    growth = rows[1]["peak_mb"] / rows[0]["peak_mb"] - 1.0
    result = {
        "benchmark": "aggregation_memory",
        "what": f"server side, {MODEL_BYTES / MB:.0f} MB model, resident memory",
        "rows": rows,
        "model_bytes": MODEL_BYTES,
        "growth": growth,
        "ok": all(row["models"] <= 5.0 for row in rows) and abs(growth) <= 0.10,
        "notes": [
            f"Peak with {MANY} clients against {FEW}: {growth:+.1%} (promised: within 10 %); "
            "above idle at most 5 models."
        ],
    }
    report(result, chosen.json, ("Clients", "Idle MB", "Peak MB", "Above idle MB", "Models"))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
