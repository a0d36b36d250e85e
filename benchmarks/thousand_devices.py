"""A round of a thousand devices: the real protocol, real bytes of 1.8 MB, nobody trains.

The devices are light ones in two processes on this machine, so they share its cores with the server, at a
lower priority, because in earnest they are other machines. Its memory is that of all its processes, with
the pages that they share counted once.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from common import Background, median, options, report
from fleet import brief, most_calls
from idle import light_federation, round_seconds, run_to_end
from server_side import MB, MemoryMeter, ProcessTree, server_root

from fedops.core import contracts as c
from fedops.core.states import ParticipationStatus
from fedops.demo.federation import Federation

MUST_SECONDS, MUST_P99_MS, MUST_MB = 20.0, 250.0, 500.0
#: Other calls are made one after the other, with this pause. Seconds.
PAUSE_SECONDS = 0.02


class Prober(Background):
    """What other API calls take while the round goes on: an operator looks at the run and a device."""

    def __init__(self, federation: Federation, device: str) -> None:
        super().__init__()
        self._headers = {"authorization": f"Bearer {federation.admin_token}"}
        self._url, self._device = federation.url, device
        self.run_id: int | None = None
        self.seconds: dict[str, list[float]] = {}
        self.failures: list[str] = []

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30.0) as http:
            while not self._over.is_set():
                for path in self._paths():
                    self._ask(http, path)
                    if self._over.wait(PAUSE_SECONDS):
                        return

    def _paths(self) -> list[str]:
        paths = ["/health", "/api/v1/runs", f"/api/v1/devices/{self._device}"]
        return [*paths, *([f"/api/v1/runs/{self.run_id}"] if self.run_id else [])]

    def _ask(self, http: httpx.Client, path: str) -> None:
        begin = time.perf_counter()
        try:
            http.get(path, headers=self._headers).raise_for_status()
        except httpx.HTTPError as error:
            self.failures.append(f"{path}: {error!r}")
            return
        self.seconds.setdefault(path, []).append(time.perf_counter() - begin)

    def p99_ms(self) -> float:
        """Of all calls together."""
        return p99_ms([one for each in self.seconds.values() for one in each])

    def p99_ms_by_call(self) -> dict[str, float]:
        return {path: p99_ms(seconds) for path, seconds in self.seconds.items()}


def p99_ms(seconds: Sequence[float]) -> float:
    found = sorted(seconds)
    return 1e3 * found[int(0.99 * len(found))]


def measure(place: Path, devices: int, rounds: int) -> dict[str, Any]:
    with light_federation(place, devices) as (federation, fleet):
        tree = ProcessTree(server_root(federation))
        prober = Prober(federation, "light-00001")

        def look(run: c.RunRead) -> None:
            prober.run_id = run.id

        before = tree.cpu()
        with MemoryMeter(tree, every=0.05) as memory, prober:
            overrides = [f"num_rounds={rounds}", f"clients_per_round={devices}"]
            records = run_to_end(federation, overrides, look, pause=1.0)
        spent = tree.cpu() - before
        tally, offline = fleet.tally(), offline_events(federation)
    seconds = round_seconds(records)
    return {
        "devices": devices,
        "round_seconds": median(seconds),
        "all_rounds": [round(one, 2) for one in seconds],
        "false_offline": offline,
        "dropped": dropped(records),
        "p99_ms": prober.p99_ms(),
        "p99_ms_by_call": prober.p99_ms_by_call(),
        "server_mb": memory.most(lambda m: m.proportional) / MB,
        "server_rss_mb": memory.most(lambda m: m.resident) / MB,
        "server_anonymous_mb": memory.most(lambda m: m.anonymous) / MB,
        "server_cpu_seconds": spent,
        "calls": most_calls(tally),
        "devices_did": brief(tally),
        "failures": prober.failures[:5],
    }


def offline_events(federation: Federation) -> int:
    """How often a device was taken for offline; none of them was."""
    count, after = 0, 0
    with federation.operator() as operator:
        while events := operator.events(after=after):
            count += sum(event.name == "device.offline" for event in events)
            after = events[-1].id
    return count


def dropped(records: list[c.RoundRead]) -> int:
    """Participations that came to nothing."""
    every = [one for record in records for one in record.participations]
    return sum(one.status is not ParticipationStatus.REPLIED for one in every)


def main() -> None:
    """Exit code 1 when a round takes longer, or the server more, than is promised."""
    parser = options(__doc__ or "")
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, help="default: 6, with --quick 3")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (3 if chosen.quick else 6)
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        row = measure(Path(place), chosen.devices, max(rounds, 2))
    kept = {
        "seconds": row["round_seconds"] <= MUST_SECONDS,
        "offline": row["false_offline"] == 0 and row["dropped"] == 0,
        "p99": row["p99_ms"] <= MUST_P99_MS and not row["failures"],
        "memory": row["server_mb"] <= MUST_MB,
    }
    result = {
        "benchmark": "thousand_devices",
        "what": f"a round of {chosen.devices} devices x 1.8 MB",
        "rows": [row],
        **{key: row[key] for key in ("round_seconds", "false_offline", "p99_ms")},
        "kept": kept,
        "ok": all(kept.values()),
        "notes": [
            f"Promised: {MUST_SECONDS:.0f} s, no device taken for offline, other calls p99 "
            f"{MUST_P99_MS:.0f} ms, server {MUST_MB:.0f} MB. Missed: "
            f"{', '.join(key for key, good in kept.items() if not good) or 'nothing'}."
        ],
    }
    columns = (
        "Devices",
        "Round seconds",
        "False offline",
        "Dropped",
        "p99 ms",
        "Server MB",
        "Server RSS MB",
        "Server anonymous MB",
        "Calls",
    )
    report(result, chosen.json, columns)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
