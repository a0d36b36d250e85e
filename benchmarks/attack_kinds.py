"""The attacks: what each sends, and in one line what became of it."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from common import HERE
from cryptography.hazmat.primitives.asymmetric import ec
from idle import TASK
from light_device import LightDevice
from light_model import Shelf, payload_of
from light_tally import Tally
from server_side import MB

from fedops.client.device.enrolment import describe_device, join_request
from fedops.core.contracts import PROTOCOL
from fedops.core.contracts.training import EXAMPLES
from fedops.demo.federation import Federation
from fedops.storage.payloads import Payload

sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))
from attacks import FROM, crowd, head, heard, line_to, pour, pour_chunks, status_of

API = "/api/v1"
HUGE = 100_000_000


@dataclass
class Target:
    """A server, and what an attacker has of it."""

    federation: Federation
    #: A device of the attacker's.
    name: str
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


# --- a device of the attacker's ----------------------------------------------------------------


def calling(target: Target, token: str) -> httpx.Client:
    """A client of the attacker's."""
    return httpx.Client(
        transport=httpx.HTTPTransport(local_address=FROM),
        base_url=target.federation.url + API,
        headers={"authorization": f"Bearer {token}", "fedops-protocol": str(PROTOCOL)},
        timeout=60.0,
        trust_env=False,
    )


def reported(target: Target, batches: Callable[[], list[dict[str, Any]]], count: int) -> str:
    """Report so many batches, without heed of how the server answers."""
    told: Counter[str] = Counter()
    sent = 0
    with calling(target, target.device_token) as http:
        for _ in range(count):
            body = json.dumps({"records": batches()}).encode()
            try:
                answer = http.post("/devices/me/records", content=body, headers=_JSON)
            except httpx.TransportError:
                told["cut off"] += 1
                continue
            sent += len(body)
            if answer.status_code != 200:
                told[f"answered {answer.status_code}"] += 1
                continue
            said = answer.json()
            told["kept"] += said["accepted"]
            told["dropped"] += said["dropped"]
            told["refused"] += len(said["refused"])
    return f"{sent / MB:.0f} MB: " + ", ".join(f"{n} {what}" for what, n in told.items() if n)


_JSON = {"content-type": "application/json"}


def record(kind: str, **values: Any) -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "kind": kind, **values}


def log_lines(target: Target) -> str:
    """A gigabyte of log lines."""
    text = "x" * 19_000 + "\n"
    return reported(
        target, lambda: [record("log", text=text) for _ in range(400)], target.many(130)
    )


def metric_names(target: Target) -> str:
    """60,000 names of metrics."""
    return reported(
        target,
        lambda: [record("metric", name=uuid.uuid4().hex, value=1.0) for _ in range(1_000)],
        target.many(60),
    )


def forged(target: Target) -> str:
    """Metrics, events and log lines of runs in which the device does not work, and times without end."""
    runs = [*range(1, 50), 2**53]

    def batch() -> list[dict[str, Any]]:
        metrics = [record("metric", name="loss", value=0.0, run_id=r, round=1) for r in runs]
        events = [record("event", name="device.removed", text="\x1b[2J", run_id=r) for r in runs]
        lines = [record("log", text="\x1b]0;mine\a", run_id=r, age_seconds=1e300) for r in runs]
        return [*metrics, *events, *lines]

    return reported(target, batch, target.many(50))


class Evil(LightDevice):
    """A device that says too much of what it did."""

    metrics: Mapping[str, Any] = {}

    def _payload(self, order: Mapping[str, Any], *, trained: bool) -> Payload:
        said = payload_of(self.name, order, trained=trained)
        metrics = {name: {**values, **self.metrics} for name, values in said.metrics.items()}
        return replace(said, metrics=metrics)


def _take_part(target: Target, metrics: Mapping[str, Any], seconds: float) -> str:
    """Work in the rounds of the run for a while, and say that of it."""
    tally = Tally()
    spec = {"url": target.federation.url, "tasks": [TASK], "authorities": ""}
    device = Evil(target.name, target.device_token, spec, Shelf(), tally)
    device.metrics = metrics

    async def live() -> None:
        task = asyncio.ensure_future(device.live(0.0))
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(live())
    with target.federation.operator() as operator:
        rounds = operator.rounds(operator.runs()[0].id)
    ends = Counter(
        f"{part.status}: {part.reason or 'taken'}"[:90]
        for one in rounds
        for part in one.participations
        if part.device == target.name
    )
    answered = [f"{n} x {what} to an upload" for what, n in tally.ended.items()]
    return "; ".join([f"{tally.updates} replies", *answered, ""]) + "; ".join(
        f"{n} x {what}" for what, n in ends.items()
    )


def many_examples(target: Target) -> str:
    """Replies that claim 2^53 - 1 examples."""
    return _take_part(target, {EXAMPLES: 2**53 - 1}, 5.0 + 15.0 * target.scale)


def many_metrics(target: Target) -> str:
    """Replies with 60,000 metrics."""
    many = {f"metric-{number}": 1.0 for number in range(60_000)}
    return _take_part(target, many, 5.0 + 15.0 * target.scale)


# --- who has an operator's token ---------------------------------------------------------------


def bombs(target: Target) -> str:
    """Bundles that unpack to a gigabyte, or whose config nests without end."""
    statuses: Counter[int] = Counter()
    begin, slowest = time.monotonic(), 0.0
    with calling(target, target.federation.admin_token) as http:
        for data in (_zip_bomb(), _deep(".".join("a" * 200_000) + " = 1"), _deep("[" * 200_000)):
            for _ in range(target.many(20)):
                began = time.monotonic()
                answer = http.put("/bundles", content=data)
                slowest = max(slowest, time.monotonic() - began)
                statuses[answer.status_code] += 1
    told = ", ".join(f"{count} x {status}" for status, count in statuses.items())
    return f"{told} in {time.monotonic() - begin:.1f} s, the slowest {slowest:.2f} s"


def _zip_bomb() -> bytes:
    made, piece = io.BytesIO(), b"#" * (64 << 20)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(16):
            archive.writestr(f"toy/{number}.py", piece)
    return made.getvalue()


def _deep(text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pyproject.toml", text)
    return made.getvalue()


ATTACKS: dict[str, Attack] = {
    "slow-loris": slow_heads,
    "half-open connections": half_open,
    "slow bodies": slow_bodies,
    "100 MB bodies": large_bodies,
    "joins with one token": joins,
    "log lines": log_lines,
    "metric names": metric_names,
    "forged records": forged,
    "2^53 examples": many_examples,
    "60,000 metrics in a reply": many_metrics,
    "zip bombs, deep TOML": bombs,
}
