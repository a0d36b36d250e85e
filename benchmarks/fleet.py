"""Light devices by the hundred: enrolled at a server, living in a few processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from common import HERE, median, say
from cryptography.hazmat.primitives.asymmetric import ec

from fedops.api_client import JoinClient, trust_pem
from fedops.client.device.enrolment import describe_device, join_request
from fedops.core import contracts as c
from fedops.demo.federation import Federation
from fedops.processes.spawn import clean_env, spawn

SCRIPT = HERE / "light_device.py"
#: A device's first poll comes within this time, so that they do not all come in one moment. Seconds.
SPREAD_SECONDS = 0.002


def enrol(federation: Federation, count: int) -> dict[str, str]:
    """Join devices, each with a key of its own; their tokens by name."""
    info, tokens = describe_device(), {}
    verify = trust_pem(federation.authorities) if federation.tls else True
    with (
        federation.operator() as operator,
        JoinClient(federation.url, verify=verify) as joiner,
    ):
        secret = str(operator.create_token(c.TokenCreate(uses=count, note="light devices")).token)
        for number in range(count):
            key = ec.generate_private_key(ec.SECP384R1())
            body = join_request(secret, f"light-{number + 1:05}", key, info)
            tokens[body.name] = joiner.join(body).device_token
    return tokens


class Fleet:
    """Light devices of one server, for as long as the block lasts."""

    def __init__(
        self,
        url: str,
        tokens: dict[str, str],
        tasks: Sequence[str],
        log: Path,
        *,
        processes: int = 2,
        train_seconds: float = 0.0,
        authorities: str = "",
        bad_commits: Sequence[str] | None = None,
    ) -> None:
        """``bad_commits``: what fails, where the code of devices comes from the server. None: it does not."""
        deploys = {} if bad_commits is None else {"deploys": {"bad": list(bad_commits)}}
        self.count = len(tokens)
        self._log = log
        names = list(tokens)
        shares = [names[number::processes] for number in range(min(processes, len(names)))]
        self._specs = [
            {
                "url": url,
                "authorities": authorities,
                "tokens": {name: tokens[name] for name in share},
                "tasks": list(tasks),
                **deploys,
                "train_seconds": train_seconds,
                "spread_seconds": SPREAD_SECONDS * self.count,
            }
            for share in shares
        ]
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        for spec in self._specs:
            with self._log.open("ab") as log:
                process = spawn(
                    [sys.executable, str(SCRIPT)],
                    env=clean_env({}),
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
            self._running.append(process)
            self._say(process, spec)
            self._hear(process)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running:
            pipe(process.stdin).close()
        for process in self._running:
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            pipe(process.stdout).close()

    def tally(self) -> dict[str, Any]:
        """What all of them did so far: numbers are summed, lists and counts are joined."""
        return merged([self._ask(process, {}) for process in self._running])

    def sound_tally(self) -> dict[str, Any]:
        """The tally; ends the benchmark when a device had a problem."""
        found = self.tally()
        if found["problems"]:
            raise SystemExit(f"light devices had problems: {found['problems'][:3]}")
        return found

    def silence(self, names: Sequence[str]) -> None:
        """These devices fall silent, as if their machines were gone."""
        for process in self._running:
            self._ask(process, {"silence": list(names)})

    def until_present(self, seconds: float = 120.0) -> None:
        """Wait until each has had an answer to a poll."""
        deadline = time.monotonic() + seconds
        while (found := self.tally())["present"] < self.count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{found['present']} of {self.count} devices came: {brief(found)}")
            time.sleep(0.5)
        say(f"{self.count} light devices are there")

    def _ask(self, process: subprocess.Popen[bytes], command: dict[str, Any]) -> dict[str, Any]:
        self._say(process, command)
        return self._hear(process)

    def _say(self, process: subprocess.Popen[bytes], document: dict[str, Any]) -> None:
        stdin = pipe(process.stdin)
        stdin.write(json.dumps(document).encode() + b"\n")
        stdin.flush()

    def _hear(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        line = pipe(process.stdout).readline()
        if not line:
            raise SystemExit(f"light devices ended: {self._log.read_text()[-2_000:]}")
        found: dict[str, Any] = json.loads(line)
        return found


def pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None
    return end


def merged(tallies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One tally of several."""
    total: dict[str, Any] = {}
    for tally in tallies:
        for key, value in tally.items():
            if isinstance(value, dict):
                mine = total.setdefault(key, {})
                for name, count in value.items():
                    mine[name] = mine.get(name, 0) + count
            else:
                total[key] = total[key] + value if key in total else value
    return total


def most_calls(tally: dict[str, Any]) -> int:
    """How many calls beside polls an update took at most, when nothing was cut."""
    return max((int(calls) for calls in tally["calls_per_update"]), default=0)


def brief(tally: dict[str, Any]) -> dict[str, Any]:
    """What of a tally belongs in a report."""
    lists = ("download_seconds", "upload_seconds", "slot_seconds")
    shown = {key: value for key, value in tally.items() if key not in lists}
    return {**shown, **{f"{key}_median": median(tally[key]) for key in lists}}
