"""The idle rounds on Flower as it comes: ``flower-superlink``, ``flower-supernode``, ``FedAvg.start``."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

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
        out = self._place / f"ticks-{size}.json"
        config = f'rounds={count} nodes={self._nodes} size="{size}" out="{out}"'
        config += f" evaluate={float(evaluate)}"
        command = ["flwr", "run", str(HERE / "apps" / "stock"), "bench", "--run-config", config]
        subprocess.run(command, env=clean_env(self._env), check=True, capture_output=True)
        _await_file(out, seconds=60.0 + 60.0 * count)
        return list(json.loads(out.read_text()))


@contextmanager
def stock_flower(place: Path, nodes: int) -> Iterator[StockFlower]:
    """Start them as Flower's documentation has it."""
    place.mkdir()
    port = free_port()
    env = {**QUIET, "FLWR_HOME": str(place / "flwr")}
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
