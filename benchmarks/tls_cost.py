"""What TLS costs: CPU of the server's processes and seconds a round, with updates of 1.8 MB.

The same light devices, model and rounds with TLS and without, on kept connections; and a new connection.
"""

from __future__ import annotations

import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from common import median, options, report, say
from fleet import Fleet
from idle import SIZES, commit_times, light_federation, round_seconds, run_to_end
from server_side import MB, CostMeter, ProcessTree, memory_of, server_root

from fedops.demo.federation import Federation

SIZE = "mb1_8"
DEVICES, ROUNDS, QUICK_ROUNDS = 50, 12, 6
NEW_CONNECTIONS = 60
#: A device moves a model and an update: 3.6 MB. Milliseconds of CPU that TLS may add to that.
MUST_MS = 8.0


def measured(place: Path, rounds: int, *, tls: bool) -> dict[str, Any]:
    """One way: CPU an update, seconds a round and a transfer, and a new connection."""
    with light_federation(place, DEVICES, tls=tls) as (federation, fleet):
        with CostMeter(ProcessTree(server_root(federation))) as meter:
            overrides = [f"num_rounds={rounds}", f"clients_per_round={DEVICES}", *SIZES[SIZE]]
            records = run_to_end(federation, overrides, pause=1.0)
        ticks = commit_times(records)
        spent = meter.between(ticks[0], ticks[-1])
        return {
            "way": "TLS" if tls else "plain HTTP",
            "cpu_ms_an_update": 1e3 * spent / ((len(ticks) - 1) * DEVICES),
            "seconds_a_round": median(round_seconds(records)),
            **_transfers(fleet),
            "server_mb": memory_of([server_root(federation).pid]).anonymous / MB,
            "ms_a_new_connection": _new_connection(federation),
        }


def _transfers(fleet: Fleet) -> dict[str, Any]:
    tally = fleet.sound_tally()
    return {
        "download_ms": 1e3 * (median(tally["download_seconds"]) or 0.0),
        "upload_ms": 1e3 * (median(tally["upload_seconds"]) or 0.0),
    }


def _new_connection(federation: Federation) -> float:
    """A tiny call on a connection of its own, in milliseconds: the handshake is what differs."""
    tls = federation.tls
    verify = ssl.create_default_context(cadata=federation.authorities) if tls else False
    took = []
    for _ in range(NEW_CONNECTIONS):
        with httpx.Client(verify=verify, trust_env=False) as client:
            begin = time.perf_counter()
            client.get(f"{federation.url}/health")
            took.append(1e3 * (time.perf_counter() - begin))
    return float(median(took) or 0.0)


def main() -> None:
    """Exit code 1 when TLS costs more than is promised."""
    chosen = options(__doc__ or "").parse_args()
    rounds = QUICK_ROUNDS if chosen.quick else ROUNDS
    rows = []
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        for name, tls in (("plain", False), ("tls", True)):
            say(f"{name} ...")
            rows.append(measured(Path(place) / name, rounds, tls=tls))
    added = rows[1]["cpu_ms_an_update"] - rows[0]["cpu_ms_an_update"]
    result = {
        "benchmark": "tls_cost",
        "what": f"{DEVICES} light devices, a model and an update of 1.8 MB each a round",
        "rows": rows,
        "added_cpu_ms_an_update": added,
        "must": MUST_MS,
        "ok": added <= MUST_MS,
        "notes": [f"TLS adds {added:.1f} ms of CPU an update (promised: {MUST_MS:.0f} or less)."],
    }
    columns = (
        "Way",
        "CPU ms an update",
        "Seconds a round",
        "Download ms",
        "Upload ms",
        "Server MB",
        "ms a new connection",
    )
    report(result, chosen.json, columns)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
