"""Attacks on a server while devices train: others are answered, memory and disk are bounded, the run goes on.

Attackers call from 127.0.0.66 and the others from 127.0.0.1, all on this machine, so they share its cores.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import HERE, options, report, say
from cryptography.hazmat.primitives.asymmetric import ec
from idle import TASK, light_federation
from server_side import MB, MemoryMeter, ProcessTree, server_root
from thousand_devices import Prober

from fedops.api_client import JoinClient
from fedops.client.device.enrolment import describe_device, join_request
from fedops.core import contracts as c
from fedops.demo.federation import Federation

sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))
from attacks import crowd, head, heard, line_to, pour, pour_chunks, status_of

MUST_P99_MS, MUST_MB, MUST_DISK_MB = 1_000.0, 800.0, 300.0
API = "/api/v1"
HUGE = 100_000_000
#: The run goes on: so many seconds at most from one committed round to the next, while it is attacked.
MUST_ROUND_SECONDS = 30.0


@dataclass
class Target:
    """A server, and what an attacker has of it."""

    federation: Federation
    #: Of a device of the attacker's.
    device_token: str
    #: Of one use, which is spent.
    join_token: str
    #: How much of an attack is made.
    scale: float

    @property
    def port(self) -> int:
        return self.federation.port

    def many(self, count: int) -> int:
        return max(int(count * self.scale), 10)


Attack = Callable[[Target], str]


def slow_heads(target: Target) -> str:
    """A slow-loris: headers that never end."""
    begin = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    told = asyncio.run(crowd(target.port, target.many(1_500), 25.0, first=begin, each=b"a: b\r\n"))
    return f"{told['opened']} connections, {told['ended']} ended by the server"


def half_open(target: Target) -> str:
    """Connections that say nothing."""
    told = asyncio.run(crowd(target.port, target.many(1_000), 25.0))
    return f"{told['opened']} connections, {told['ended']} ended by the server"


def slow_bodies(target: Target) -> str:
    """Bodies of a device that never end."""
    begin = head(
        "POST",
        API + "/devices/me/records",
        content_length=1_000_000,
        authorization=f"Bearer {target.device_token}",
        fedops_protocol=1,
    )
    told = asyncio.run(crowd(target.port, target.many(500), 25.0, first=begin, each=b" "))
    return f"{told['opened']} connections, {told['ended']} ended by the server"


def large_bodies(target: Target) -> str:
    """100 MB to whatever takes a body: as nobody, and as a device."""
    device = {"authorization": f"Bearer {target.device_token}"}
    taken = tried = 0
    for path in ("/join", "/tasks", "/devices/me/records", "/bundles", "/work"):
        for who in ({}, device):
            for length in ({"content_length": HUGE}, {"transfer_encoding": "chunked"}):
                with line_to(target.port) as line:
                    line.sendall(head("POST", API + path, fedops_protocol=1, **length, **who))
                    send = pour_chunks if "transfer_encoding" in length else pour
                    taken, tried = taken + send(line, HUGE), tried + HUGE
    return f"{taken / MB:.0f} of {tried / MB:.0f} MB got away"


def joins(target: Target) -> str:
    """Joins without end, with a token that is used up."""
    info, key = describe_device(), ec.generate_private_key(ec.SECP384R1())
    body = join_request(target.join_token, "intruder", key, info).model_dump_json().encode()
    sent_as = {"content_type": "application/json", "content_length": len(body)}
    request = head("POST", API + "/join", fedops_protocol=1, **sent_as) + body
    statuses: dict[int | None, int] = {}
    for _ in range(target.many(10_000) // 100):
        with line_to(target.port) as line:
            for _ in range(100):
                line.sendall(request)
                status = status_of(heard(line))
                statuses[status] = statuses.get(status, 0) + 1
    told = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items(), key=str))
    return f"{told}: none joined" if 201 not in statuses else f"{told}: JOINED"


ATTACKS: dict[str, Attack] = {
    "slow-loris": slow_heads,
    "half-open connections": half_open,
    "slow bodies": slow_bodies,
    "100 MB bodies": large_bodies,
    "joins with one token": joins,
}


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


def attacker(federation: Federation) -> tuple[str, str]:
    """The token of a device of the attacker's, and the join token that it has spent."""
    with federation.operator() as operator, JoinClient(federation.url) as joiner:
        secret = str(operator.create_token(c.TokenCreate(note="attacker")).token)
        key = ec.generate_private_key(ec.SECP384R1())
        reply = joiner.join(join_request(secret, "attacker", key, describe_device()))
    return reply.device_token, secret


def measure(place: Path, devices: int, scale: float, names: list[str]) -> list[dict[str, Any]]:
    with light_federation(place, devices, train_seconds=0.5) as (federation, _):
        target = Target(federation, *attacker(federation), scale)
        with federation.operator() as operator:
            overrides = ["num_rounds=100000", f"clients_per_round={devices}"]
            run = operator.start_run(TASK, c.RunStart(overrides=overrides))
        watch = Watch(federation, run.id)
        watch.row("(none)", lambda _: "", target)
        return [watch.row(name, ATTACKS[name], target) for name in names]


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
