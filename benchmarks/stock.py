"""Flower as it comes: ``flower-superlink``, ``flower-supernode``, ``flwr run``, ``FedAvg.start``."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from common import HERE, running
from idle import QUIET

from fedops.demo.federation import free_port
from fedops.processes.spawn import clean_env


class StockFlower:
    """A SuperLink with supernodes, for as long as ``stock_flower`` lasts."""

    def __init__(self, place: Path, nodes: int, env: dict[str, str]) -> None:
        self._place, self._nodes, self._env = place, nodes, env
        self.superlink: psutil.Process

    def rounds(self, count: int, size: str, *, evaluate: bool) -> list[float]:
        """When each round began, and when the last one ended, as ``time.time()``."""
        config = f'rounds={count} nodes={self._nodes} size="{size}" evaluate={float(evaluate)}'
        return list(self.run("stock", config, f"ticks-{size}.json", 60.0 + 60.0 * count))

    def run(self, app: str, config: str, out: str, seconds: float) -> Any:
        """What the ServerApp of ``apps/<app>`` writes to the file ``out`` when it is done."""
        file = self._place / out
        config += f' out="{file}"'
        command = ["flwr", "run", str(HERE / "apps" / app), "bench", "--run-config", config]
        subprocess.run(command, env=clean_env(self._env), check=True, capture_output=True)
        _await_file(file, seconds)
        return json.loads(file.read_text())

    def until_online(self, seconds: float = 60.0) -> None:
        """Wait until the SuperLink sees all supernodes."""
        deadline = time.monotonic() + seconds
        command = ["flwr", "supernode", "list", "bench", "--format", "json"]
        while True:
            done = subprocess.run(
                command, env=clean_env(self._env), check=True, capture_output=True, text=True
            )
            known = json.loads(done.stdout)["nodes"]
            if sum(node["status"] == "online" for node in known) == self._nodes:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"not all {self._nodes} supernodes are online: {done.stdout}")


@contextmanager
def stock_flower(
    place: Path, nodes: int, extra_env: Mapping[str, str] | None = None
) -> Iterator[StockFlower]:
    """Start them as Flower's documentation has it; each node knows which part of the data is its own."""
    place.mkdir()
    port = free_port()
    env = {**QUIET, "FLWR_HOME": str(place / "flwr"), **(extra_env or {})}
    _write_connection(place / "flwr", port)
    stock = StockFlower(place, nodes, env)
    with ExitStack() as stack:
        link = ["flower-superlink", "--insecure", "--port", str(port), "--host", "127.0.0.1"]
        link.append("--disable-runtime-dependency-installation")
        tether = stack.enter_context(running(link, place / "superlink.log", env))
        _await_health(port)
        stock.superlink = psutil.Process(tether.pid).children()[0]
        for number in range(nodes):
            node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
            node += ["--port", str(free_port())]
            node += ["--node-config", f"partition-id={number} num-partitions={nodes}"]
            stack.enter_context(running(node, place / f"node-{number}.log", env))
        yield stock


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
