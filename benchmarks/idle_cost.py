"""What a server costs while nothing happens, and how soon it notices that a device is gone.

Three real devices first, then light ones, which poll as real ones do. A device that is lost leaves its
connection open, as a machine without power does.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import options, report, say
from idle import idle_federation, light_federation
from server_side import ProcessTree, server_root

from fedops.demo.federation import Federation

MUST_PERCENT, MUST_PROCESSES, MUST_MANY_PERCENT = 1.5, 1, 40.0
#: Devices -> within how many seconds a lost one must be noticed.
MUST_NOTICE = {10: 10.0, 1_000: 30.0}
#: What starting and joining have left to do is over by then. Seconds.
SETTLE_SECONDS = 10.0


def percent_of_a_core(federation: Federation, seconds: float) -> tuple[float, list[str]]:
    """CPU of all server processes, and what they are."""
    tree = ProcessTree(server_root(federation))
    time.sleep(SETTLE_SECONDS)
    begin, before = time.monotonic(), tree.cpu()
    time.sleep(seconds)
    spent = tree.cpu() - before
    return 100 * spent / (time.monotonic() - begin), tree.commands()


def real_devices(place: Path, seconds: float) -> dict[str, Any]:
    with idle_federation(place, 3) as federation:
        percent, commands = percent_of_a_core(federation, seconds)
    return {
        "devices": "3 real",
        "core_percent": percent,
        "processes": len(commands),
        "commands": commands,
    }


def light_devices(place: Path, count: int, seconds: float) -> dict[str, Any]:
    with light_federation(place, count) as (federation, fleet):
        percent, commands = percent_of_a_core(federation, seconds)
        lost = "light-00001"
        fleet.silence([lost])
        noticed = seconds_until_offline(federation, lost, 4 * MUST_NOTICE[count])
        with federation.operator() as operator:
            online = sum(device.online for device in operator.devices())
    return {
        "devices": f"{count} light",
        "core_percent": percent,
        "processes": len(commands),
        "lost_noticed_seconds": noticed,
        "online_afterwards": online,
        "as_expected": online == count - 1,
    }


def seconds_until_offline(federation: Federation, name: str, limit: float) -> float:
    begin = time.monotonic()
    with federation.operator() as operator:
        federation.until(
            f"{name} to be noticed as lost",
            lambda: not operator.device(name).online,
            seconds=limit,
            pause=0.25,
        )
    return time.monotonic() - begin


def main() -> None:
    """Exit code 1 when idling costs more, or a loss is noticed later, than is promised."""
    parser = options(__doc__ or "")
    parser.add_argument("--devices", type=int, default=1_000, help="how many light ones")
    chosen = parser.parse_args()
    seconds = 20.0 if chosen.quick else 60.0
    MUST_NOTICE.setdefault(chosen.devices, 30.0)
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        say("3 real devices ...")
        few = real_devices(Path(place) / "few", seconds)
        ten = light_devices(Path(place) / "ten", 10, seconds / 2)
        many = light_devices(Path(place) / "many", chosen.devices, seconds)
    keys = ("core_percent", "lost_noticed_seconds")
    kept = {
        "3 devices": few["core_percent"] <= MUST_PERCENT and few["processes"] <= MUST_PROCESSES,
        "10 devices": ten["lost_noticed_seconds"] <= MUST_NOTICE[10] and ten["as_expected"],
        "many devices": many["lost_noticed_seconds"] <= MUST_NOTICE[chosen.devices]
        and many["core_percent"] <= MUST_MANY_PERCENT
        and many["as_expected"],
    }
    result = {
        "benchmark": "idle_cost",
        "what": "an idle server",
        "rows": [few, ten, many],
        "core_percent": few["core_percent"],
        "processes": few["processes"],
        "ten": {key: ten[key] for key in keys},
        "thousand": {key: many[key] for key in keys},
        "kept": kept,
        "ok": all(kept.values()),
        "notes": [
            f"Promised: {MUST_PERCENT} % of a core and {MUST_PROCESSES} process with 3 devices; "
            f"{MUST_MANY_PERCENT:.0f} % with 1,000; a lost device noticed within 30 s, with 10 "
            f"devices within 10 s."
        ],
    }
    columns = ("Devices", "Core percent", "Processes", "Lost noticed seconds")
    report(result, chosen.json, columns)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
