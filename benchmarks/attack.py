"""Attacks on a server while devices train: others are answered, memory and disk are bounded, the run goes on.

Attackers call from 127.0.0.66 and the others from 127.0.0.1, all on this machine, so they share its cores.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from attack_kinds import ATTACKS, Attack, Target
from common import options, report, say
from cryptography.hazmat.primitives.asymmetric import ec
from idle import TASK, light_federation
from server_side import MB, MemoryMeter, ProcessTree, server_root
from thousand_devices import Prober

from fedops.api_client import JoinClient
from fedops.client.device.enrolment import describe_device, join_request
from fedops.core import contracts as c
from fedops.demo.federation import Federation

MUST_P99_MS, MUST_MB, MUST_DISK_MB = 1_000.0, 800.0, 300.0
#: The run goes on: so many seconds at most from one committed round to the next, while it is attacked.
MUST_ROUND_SECONDS = 30.0


class Watch:
    """What others notice of an attack."""

    def __init__(self, federation: Federation, run_id: int) -> None:
        self._federation, self._run_id = federation, run_id

    def row(self, name: str, attack: Attack, target: Target) -> dict[str, Any]:
        say(f"{name} ...")
        before, disk, begin = self._rounds(), self._disk(), time.monotonic()
        tree, prober = (
            ProcessTree(server_root(self._federation)),
            Prober(self._federation, "light-00001"),
        )
        prober.run_id = self._run_id
        with MemoryMeter(tree, every=0.1) as memory, prober:
            told = attack(target)
            self._await_round(before)
        seconds = time.monotonic() - begin
        return {
            "attack": name,
            "what_became_of_it": told,
            "seconds": seconds,
            "others_p99_ms": prober.p99_ms(),
            "failed": len(prober.failures),
            "server_mb": memory.most(lambda m: m.proportional) / MB,
            "disk_mb": (self._disk() - disk) / MB,
            "rounds": self._rounds() - before,
        }

    def _await_round(self, before: int) -> None:
        until = time.monotonic() + MUST_ROUND_SECONDS
        while self._rounds() == before and time.monotonic() < until:
            time.sleep(0.2)

    def _rounds(self) -> int:
        with self._federation.operator() as operator:
            return operator.run(self._run_id).committed_rounds

    def _disk(self) -> int:
        home = self._federation.server_home
        return sum(file.stat().st_size for file in home.rglob("*") if file.is_file())


def is_kept(row: dict[str, Any]) -> bool:
    """Whether others noticed no more than is promised."""
    bounded = row["server_mb"] <= MUST_MB and row["disk_mb"] <= MUST_DISK_MB
    answered = row["others_p99_ms"] <= MUST_P99_MS and not row["failed"]
    return bounded and answered and row["rounds"] > 0


def attacker(federation: Federation, number: int, scale: float) -> Target:
    """What an attacker has who enrolled a device."""
    name = f"attacker-{number}"
    with federation.operator() as operator, JoinClient(federation.url) as joiner:
        secret = str(operator.create_token(c.TokenCreate(note=name)).token)
        key = ec.generate_private_key(ec.SECP384R1())
        reply = joiner.join(join_request(secret, name, key, describe_device()))
    return Target(federation, name, reply.device_token, secret, scale)


def measure(place: Path, devices: int, scale: float, names: list[str]) -> list[dict[str, Any]]:
    with light_federation(place, devices, train_seconds=0.5) as (federation, _):
        with federation.operator() as operator:
            overrides = ["num_rounds=100000", f"clients_per_round={devices}"]
            run = operator.start_run(TASK, c.RunStart(overrides=overrides))
        watch = Watch(federation, run.id)
        watch.row("(none)", lambda _: "", attacker(federation, 0, scale))
        return [
            watch.row(name, ATTACKS[name], attacker(federation, number, scale))
            for number, name in enumerate(names, 1)
        ]


def main() -> None:
    """Exit code 1 when others notice more than is promised."""
    parser = options(__doc__ or "")
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--only", choices=ATTACKS, action="append", help="these alone")
    chosen = parser.parse_args()
    scale = 0.1 if chosen.quick else 1.0
    with tempfile.TemporaryDirectory(prefix="fedops-attack-") as place:
        rows = measure(Path(place), chosen.devices, scale, chosen.only or list(ATTACKS))
    for row in rows:
        row["kept"] = is_kept(row)
    result = {
        "benchmark": "attack",
        "what": f"attacks on a server while {chosen.devices} devices train",
        "rows": rows,
        "ok": all(row["kept"] for row in rows),
        "notes": [
            f"Promised to others: p99 {MUST_P99_MS:.0f} ms and no failed call, server {MUST_MB:.0f} MB, "
            f"disk {MUST_DISK_MB:.0f} MB more, a round within {MUST_ROUND_SECONDS:.0f} s."
        ],
    }
    columns = [
        "Attack",
        "What became of it",
        "Seconds",
        "Others p99 ms",
        "Failed",
        "Server MB",
        "Disk MB",
    ]
    report(result, chosen.json, [*columns, "Rounds", "Kept"])
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
