"""Seconds of a round that does no work: FedOps beside stock Flower, in the same run, on this machine.

Two devices and a model of 1.8 MB. What is left of a round when nobody trains is what the platform costs.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
from common import HERE, median, options, report, running, say
from idle import QUIET, idle_federation, run_to_end

from fedops.demo.federation import free_port
from fedops.processes import clean_env

DEVICES = 2


def fedops_rounds(place: Path, rounds: int) -> list[float]:
    """Seconds between the commits of successive rounds of a FedOps run."""
    with idle_federation(place, DEVICES) as federation:
        records = run_to_end(federation, [f"num_rounds={rounds}"])
    commits = [record.committed_at for record in records if record.committed_at is not None]
    return [after - before for before, after in itertools.pairwise(commits)]


def stock_rounds(place: Path, rounds: int) -> list[float]:
    """Seconds of the rounds of ``FedAvg.start`` with ``flower-supernode``, as its documentation has it."""
    place.mkdir()
    port, out = free_port(), place / "seconds.json"
    env = {**QUIET, "FLWR_HOME": str(place / "flwr")}
    _write_connection(place / "flwr", port)
    with ExitStack() as stack:
        link = ["flower-superlink", "--insecure", "--port", str(port), "--host", "127.0.0.1"]
        link.append("--disable-runtime-dependency-installation")
        stack.enter_context(running(link, place / "superlink.log", env))
        _await_health(port)
        for number in range(DEVICES):
            node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
            node += ["--port", str(free_port())]
            stack.enter_context(running(node, place / f"node-{number}.log", env))
        config = f'rounds={rounds} nodes={DEVICES} out="{out}"'
        command = ["flwr", "run", str(HERE / "apps" / "stock"), "bench", "--run-config", config]
        subprocess.run(command, env=clean_env(env), check=True, capture_output=True)
        _await_file(out, seconds=60.0 + 40.0 * rounds)
    return list(json.loads(out.read_text()))[1:]


def _write_connection(home: Path, port: int) -> None:
    home.mkdir(parents=True)
    (home / "config.toml").write_text(
        f'[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )


def _await_health(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("the stock SuperLink did not start")


def _await_file(file: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not (file.exists() and file.read_text()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{file} was not written in {seconds:.0f} s")
        time.sleep(0.2)


def legacy_rounds(place: Path, rounds: int) -> list[float]:
    """Seconds of the rounds of the deprecated ``start_server`` with its gRPC clients."""
    place.mkdir()
    script, port = str(HERE / "legacy.py"), str(free_port())
    env = {**QUIET, "PYTHONPATH": str(HERE / "apps" / "stock")}
    with ExitStack() as stack:
        for _ in range(DEVICES):
            client = [sys.executable, script, "client", port, str(rounds)]
            stack.enter_context(running(client, place / "client.log", env))
        server = [sys.executable, script, "server", port, str(rounds)]
        done = subprocess.run(
            server, env=clean_env(env), check=True, capture_output=True, text=True
        )
    return list(json.loads(done.stdout.splitlines()[-1]))[1:]


WAYS = {
    "FedOps": (fedops_rounds, 4),
    "flower-supernode + FedAvg.start": (stock_rounds, 1),
    "start_server (deprecated gRPC)": (legacy_rounds, 4),
}


def main() -> None:
    """Measure all ways one after the other; the first round of each is not counted."""
    chosen = options(__doc__ or "").parse_args()
    base = 3 if chosen.quick else 6
    rows = []
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        for number, (way, (measure, factor)) in enumerate(WAYS.items()):
            say(f"{way} ...")
            seconds = measure(Path(place) / str(number), base * factor)
            rows.append(
                {
                    "way": way,
                    "rounds": len(seconds),
                    "median_s": median(seconds),
                    "min_s": min(seconds),
                    "max_s": max(seconds),
                }
            )
    ratio = rows[1]["median_s"] / rows[0]["median_s"]
    result = {
        "benchmark": "round_overhead",
        "what": "a round without work, 1.8 MB model, 2 devices, loopback",
        "rows": rows,
        "stock_to_fedops": ratio,
        "ok": ratio >= 10.0,
        "notes": [f"FedOps takes 1/{ratio:.0f} of stock Flower's time (promised: 1/10 or less)."],
    }
    report(result, chosen.json, ("Way", "Rounds", "Median s", "Min s", "Max s"))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
