"""``deploy/compose.yaml``, started as its first lines say, and started anew on its volumes."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container_engine import ROOT, STOP_SECONDS, Failed, check_health, health_line, logs, run

from fedops.waiting import wait_until

PROGRAM = "podman-compose"
HEALTHY_SECONDS, READY_SECONDS = 120.0, 300.0


def can_compose() -> bool:
    """The program is no part of podman."""
    return shutil.which(PROGRAM) is not None


@dataclass(frozen=True)
class Compose:
    """The services of the file and of what is added to it, as one project."""

    project: str
    port: int
    added: Path

    def __call__(self, *words: str, server: str = "", token: str = "") -> None:
        files = ("-f", str(ROOT / "deploy" / "compose.yaml"), "-f", str(self.added))
        env = {"FEDOPS_PORT": str(self.port), "FEDOPS_JOIN_TOKEN": token}
        env |= {"FEDOPS_SERVER": server} if server else {}
        run(PROGRAM, "-p", self.project, *files, *words, **env)

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def execute(self, service: str, *command: str) -> str:
        """What a command prints. ``podman-compose exec`` prints more than that."""
        return run("podman", "exec", self.container(service), *command)

    def fedops(self, *words: str) -> Any:
        """An operator's command, typed inside of the server's container."""
        return json.loads(self.execute("server", "fedops", *words, "--json"))

    def until_healthy(self, service: str) -> None:
        name = self.container(service)
        if not wait_until(lambda: check_health(name) == "healthy", HEALTHY_SECONDS, every=1.0):
            raise Failed(f"{name} is not healthy: {health_line(name)}\n{logs(name)}")

    def ready_devices(self) -> list[str]:
        """The ids of those that could train, once there is one."""

        def ready() -> list[str]:
            devices = self.fedops("device", "list")
            return [d["id"] for d in devices if d["online"] and d["process"]["status"] == "idle"]

        found = wait_until(ready, READY_SECONDS, every=1.0)
        if not found:
            raise Failed(f"the device did not get ready:\n{logs(self.container('device'))}")
        return found


@contextlib.contextmanager
def project(name: str, port: int, data: Mapping[str, object]) -> Iterator[Compose]:
    """A project that is gone afterwards, with its volumes and its network; ``data``: for its device."""
    with tempfile.TemporaryDirectory() as folder:
        added = Path(folder) / "data.yaml"  # JSON is YAML
        added.write_text(json.dumps({"services": {"device": data}}))
        compose = Compose(name, port, added)
        try:
            yield compose
        finally:
            with contextlib.suppress(Failed):
                compose("down", "--volumes", "--timeout", str(STOP_SECONDS))
            with contextlib.suppress(Failed):
                run("podman", "network", "rm", "--force", f"{name}_default")


def try_compose(
    compose: Compose, say: Callable[[str], None], create_task: Callable[[str, str], None]
) -> None:
    """Server first, then a device with a token; then both once more, without one.

    ``create_task`` is given the admin token and the fingerprint of the server's authority.
    """
    compose("up", "-d", "server")
    compose.until_healthy("server")
    line = compose.fedops("server", "status")["join_url"]
    admin_token = compose.execute("server", "cat", "/home/fedops/.fedops/server/admin-token")
    create_task(admin_token, line.partition("#")[2])
    made = compose.fedops("token", "create")["token"]
    compose("up", "-d", "device", server=line, token=made)
    compose.until_healthy("device")
    before = compose.ready_devices()
    say("  server and device are healthy, the device has joined and is ready")
    compose("down", "--timeout", str(STOP_SECONDS))
    compose("up", "-d")
    compose.until_healthy("server")
    compose.until_healthy("device")
    after = compose.ready_devices()
    if after != before:
        raise Failed(f"the device was {before}, now it is {after}")
    say("  taken down and started anew: the same device, without a token")
