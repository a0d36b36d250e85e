"""Many Client Managers against one Server Manager, over HTTP: joined, beating, listening and delivering.

One process plays all of them: each has its own key and token, a heartbeat at the interval that the server
asks for, a long poll for what the server wants, and its telemetry to deliver.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from common import HERE, options, report, say
from cryptography.hazmat.primitives.asymmetric import ec

from fedops.api_client import JoinClient
from fedops.client.join import describe_device, join_request
from fedops.core import contracts as c
from fedops.core.states import ProcessStatus
from fedops.demo.federation import Federation

DEVICES = 200
TASK = "idle"
TELEMETRY = {"cpu_percent": 12.5, "memory_mb": 512.0, "disk_free_mb": 20_000.0, "net_bytes": 4_096}
COLUMNS = ("Managers", "Seconds", "Heartbeats", "Unanswered", "p50 ms", "p99 ms", "Max ms", "CPU %")


@dataclass
class Tally:
    """What all of them together saw."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    records: int = 0
    #: How often a device was taken for offline, and how many were online, just before the end.
    offline: int = 0
    online: int = 0


@dataclass
class Manager:
    """One simulated Client Manager."""

    name: str
    token: str
    http: httpx.AsyncClient
    tally: Tally
    interval: float = 4.0
    telemetry: float = 10.0
    revision: int = 0

    async def live(self) -> None:
        """Beat, listen and deliver until cancelled."""
        listening = asyncio.create_task(self._listen())
        delivering = asyncio.create_task(self._deliver())
        await asyncio.sleep(random.uniform(0, self.interval))
        try:
            while True:
                begin = time.monotonic()
                await self._beat()
                await asyncio.sleep(max(0.0, begin + self.interval - time.monotonic()))
        finally:
            for task in (listening, delivering):
                task.cancel()

    async def _beat(self) -> None:
        process = c.ProcessReport(status=ProcessStatus.IDLE, pid=4_711, seconds_in_state=1.0)
        body = c.Heartbeat(tasks=[TASK], process=process)
        begin = time.perf_counter()
        try:
            answer = await self._call("POST", "/devices/me/heartbeat", body.model_dump_json())
        except httpx.HTTPError as error:
            self.tally.failures.append(f"{self.name}: {error!r}")
            return
        self.tally.seconds.append(time.perf_counter() - begin)
        self._take(answer)

    async def _listen(self) -> None:
        while True:
            try:
                path = f"/devices/me/desired?after={self.revision}&wait=25"
                self._take(await self._call("GET", path))
            except httpx.HTTPError as error:
                self.tally.failures.append(f"{self.name}: {error!r}")
                await asyncio.sleep(1.0)

    async def _deliver(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(self.telemetry * random.uniform(0.8, 1.2))
            number += 1
            record = c.DeviceRecord(
                id=f"{self.name}-{number:06}",
                kind=c.RecordKind.TELEMETRY,
                name="device",
                data=TELEMETRY,
            )
            body = c.RecordBatch(records=[record]).model_dump_json()
            try:
                await self._call("POST", "/devices/me/records", body)
                self.tally.records += 1
            except httpx.HTTPError as error:
                self.tally.failures.append(f"{self.name}: {error!r}")

    def _take(self, desired: dict[str, Any]) -> None:
        self.revision = desired["revision"]
        self.interval = desired["heartbeat_seconds"]
        self.telemetry = desired["telemetry_seconds"]

    async def _call(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        answer = await self.http.request(method, path, content=body, headers=headers)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def enrol(federation: Federation, count: int) -> dict[str, str]:
    """Join ``count`` devices, each with a key of its own; their tokens by name."""
    info, tokens = describe_device(), {}
    with federation.operator() as operator, JoinClient(federation.url) as joiner:
        secret = str(operator.create_token(c.TokenCreate(uses=count, note="many")).token)
        for number in range(count):
            key = ec.generate_private_key(ec.SECP384R1())
            body = join_request(secret, f"device-{number + 1:04}", key, info)
            tokens[body.name] = joiner.join(body).device_token
    return tokens


async def live(federation: Federation, tokens: dict[str, str], seconds: float) -> Tally:
    """All managers together for a while."""
    tally, base = Tally(), f"{federation.url}/api/v1"
    context = ssl.create_default_context()  # made once: each costs more than a heartbeat
    async with AsyncExitStack() as stack:
        managers = []
        for name, token in tokens.items():  # a pool of connections each, as separate programs have
            http = httpx.AsyncClient(base_url=base, timeout=40.0, verify=context)
            await stack.enter_async_context(http)
            managers.append(Manager(name, token, http, tally))
        living = [asyncio.create_task(manager.live()) for manager in managers]
        await asyncio.sleep(seconds)
        await asyncio.to_thread(look, federation, tally)  # while they are all still there
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)
    return tally


def look(federation: Federation, tally: Tally) -> None:
    """What the server thinks of the devices."""
    with federation.operator() as operator:
        tally.online = sum(device.online for device in operator.devices())
        after, events = 0, operator.events()
        while events:
            tally.offline += sum(event.name == "device.offline" for event in events)
            after = events[-1].id
            events = operator.events(after=after)


def cpu_of(federation: Federation) -> float:
    """CPU seconds of the Server Manager so far, without the SuperLink."""
    root = federation.parts["server"].root()
    times = psutil.Process(root.pid).cpu_times() if root else None
    return times.user + times.system if times else 0.0


def measure(place: Path, count: int, seconds: float) -> dict[str, Any]:
    with Federation(place, {"OMP_NUM_THREADS": "1"}) as federation:
        federation.start_server()
        federation.create_task(TASK, HERE / "apps" / TASK)
        say(f"joining {count} devices ...")
        tokens = enrol(federation, count)
        say(f"{count} managers for {seconds:.0f} s ...")
        cpu = cpu_of(federation)
        tally = asyncio.run(live(federation, tokens, seconds))
        cpu = cpu_of(federation) - cpu
    beats = sorted(tally.seconds)
    return {
        "managers": count,
        "seconds": seconds,
        "heartbeats": len(beats),
        "unanswered": len(tally.failures),
        "p50_ms": 1_000 * beats[len(beats) // 2],
        "p99_ms": 1_000 * beats[int(len(beats) * 0.99)],
        "max_ms": 1_000 * beats[-1],
        "cpu_%": 100 * cpu / seconds,
        "false_offline": tally.offline,
        "online_at_the_end": tally.online,
        "records": tally.records,
        "problems": tally.failures[:5],
    }


def main() -> None:
    """Exit code 1 when a heartbeat stayed without an answer, or a device was taken for offline."""
    parser = options(__doc__ or "")
    parser.add_argument("--managers", type=int, default=DEVICES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        row = measure(Path(place), chosen.managers, 15.0 if chosen.quick else 120.0)
    expected = row["online_at_the_end"] == row["managers"] and not row["false_offline"]
    result = {
        "benchmark": "many_managers",
        "what": "Client Managers against one Server Manager, each with heartbeats, a long poll, telemetry",
        "rows": [row],
        "ok": not row["unanswered"] and expected,
        "notes": [
            f"{row['false_offline']} times a device was taken for offline, "
            f"{row['online_at_the_end']} of {row['managers']} are online at the end; "
            f"{row['records']} telemetry records were taken in.",
            *row["problems"],
        ],
    }
    report(result, chosen.json, COLUMNS)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
