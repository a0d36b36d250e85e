"""CPU that a client's update costs the server: all its processes, sha256, checks and aggregation included.

Light devices with real bytes on FedOps; supernodes that do no work on stock Flower's SuperLink, in the same
run. Read from /proc between the commits of rounds, so that starting up is not counted.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import options, report, say
from fleet import most_calls
from idle import SIZES, commit_times, light_federation, run_to_end
from server_side import CostMeter, ProcessTree, server_root
from stock import stock_flower

#: Milliseconds for each size.
MUST = {"tiny": 6.0, "mb1_8": 15.0, "mb45": 250.0}
NAMES = {"tiny": "a few bytes", "mb1_8": "1.8 MB", "mb45": "45 MB"}
#: Devices and rounds of FedOps.
DEVICES = {"tiny": 50, "mb1_8": 50, "mb45": 8}
ROUNDS = {"tiny": 30, "mb1_8": 12, "mb45": 8}
QUICK_ROUNDS = {"tiny": 12, "mb1_8": 6, "mb45": 4}
STOCK_NODES, STOCK_ROUNDS, STOCK_QUICK_ROUNDS = 2, 5, 3


def fedops_cost(place: Path, size: str, rounds: int) -> dict[str, Any]:
    """Milliseconds an update, and how many updates were counted."""
    devices = DEVICES[size]
    with light_federation(place, devices) as (federation, fleet):
        with CostMeter(ProcessTree(server_root(federation))) as meter:
            overrides = [f"num_rounds={rounds}", f"clients_per_round={devices}", *SIZES[size]]
            records = run_to_end(federation, overrides, pause=1.0)
        tally = fleet.sound_tally()
    return {
        **_row("FedOps", size, commit_times(records), devices, meter),
        "calls": most_calls(tally),
    }


def stock_costs(place: Path, rounds: int) -> list[dict[str, Any]]:
    """The same for each size on stock Flower; nobody evaluates."""
    rows = []
    with (
        stock_flower(place, STOCK_NODES) as stock,
        CostMeter(ProcessTree(stock.superlink)) as meter,
    ):
        for size in SIZES:
            say(f"stock Flower, {NAMES[size]} ...")
            ticks = stock.rounds(rounds, size, evaluate=False)
            rows.append(_row("SuperLink + ServerApp", size, ticks[1:], STOCK_NODES, meter))
    return rows


def _row(
    way: str, size: str, ticks: Sequence[float], devices: int, meter: CostMeter
) -> dict[str, Any]:
    updates = (len(ticks) - 1) * devices
    spent = meter.between(ticks[0], ticks[-1])
    return {
        "way": way,
        "model": NAMES[size],
        "updates": updates,
        "cpu_ms_an_update": 1e3 * spent / updates,
        "seconds_a_round": (ticks[-1] - ticks[0]) / (len(ticks) - 1),
    }


def main() -> None:
    """Exit code 1 when an update costs more than is promised."""
    parser = options(__doc__ or "")
    parser.add_argument("--no-stock", action="store_true", help="FedOps only")
    chosen = parser.parse_args()
    rows, costs = [], {}
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        for size in SIZES:
            say(f"FedOps, {NAMES[size]} ...")
            rounds = (QUICK_ROUNDS if chosen.quick else ROUNDS)[size]
            rows.append(fedops_cost(Path(place) / size, size, rounds))
            costs[size] = rows[-1]["cpu_ms_an_update"]
        if not chosen.no_stock:
            rounds = STOCK_QUICK_ROUNDS if chosen.quick else STOCK_ROUNDS
            rows += stock_costs(Path(place) / "stock", rounds)
    result = {
        "benchmark": "server_cost",
        "what": "CPU of all server processes for one client's update",
        "rows": rows,
        "cpu_ms_per_update": costs,
        "must": MUST,
        "ok": all(costs[size] <= MUST[size] for size in SIZES),
        "notes": [_promise(costs)],
    }
    columns = ("Way", "Model", "Updates", "CPU ms an update", "Seconds a round", "Calls")
    report(result, chosen.json, columns)
    sys.exit(0 if result["ok"] else 1)


def _promise(costs: dict[str, float]) -> str:
    parts = [f"{NAMES[size]} {costs[size]:.1f} of {MUST[size]:.0f} ms" for size in SIZES]
    return f"Promised at most: {', '.join(parts)}."


if __name__ == "__main__":
    main()
