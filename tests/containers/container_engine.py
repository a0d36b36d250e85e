"""buildah and podman as this machine has them, and the end of all that is started with them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pip_config import PipConfig

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "apt-get install buildah podman runc netavark aardvark-dns"
#: podman itself kills after this time. Seconds.
STOP_SECONDS = 10
#: What a container is given and what is taken from it: the least that the programs live with.
CONFINED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class Failed(Exception):
    """Something is not as it must be; the message is for whoever ran ``make containers``."""


def require_programs() -> None:
    """Both must be there, with a network in which containers find each other by their names."""
    missing = [name for name in ("buildah", "podman") if shutil.which(name) is None]
    if missing:
        names = " and ".join(missing)
        raise Failed(f"{names} not found; on Debian: {INSTALL}")
    backend = run("podman", "info", "--format", "{{.Host.NetworkBackend}}")
    if backend != "netavark":
        raise Failed(
            f"podman's network backend is {backend}, with which containers do not know each other's "
            f"names. Set network_backend to netavark in containers.conf; on Debian: {INSTALL}"
        )


def run(*command: str, **env: str) -> str:
    """What a command prints on stdout. ``Failed`` with its last words, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | env)
    if done.returncode != 0:
        last = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-15:])
        raise Failed(f"'{' '.join(command[:3])} ...' failed (exit code {done.returncode}):\n{last}")
    return done.stdout.strip()


def build(role: str, image: str, base: str, extras: str | None, pip: PipConfig) -> None:
    """Build ``deploy/Containerfile.ROLE``, without a daemon."""
    args = ["--build-arg", f"BASE={base}"]
    args += [] if extras is None else ["--build-arg", f"EXTRAS={extras}"]
    mounts = [word for place in pip.places for word in ("--volume", f"{place}:{place}:ro")]
    file = ROOT / "deploy" / f"Containerfile.{role}"
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "pip.conf"
        secret.touch(mode=0o600)
        secret.write_text(pip.text)
        given = ["--secret", f"id=pip.conf,src={secret}", "--file", str(file), "--tag", image]
        command = ["buildah", "bud", "--isolation", "chroot", "--format", "docker"]
        run(*command, *args, *mounts, *given, str(ROOT))


@contextlib.contextmanager
def replacing(image: str) -> Iterator[None]:
    """Take away the image that had this name before, if it has no other: each is a GB."""
    before = image_id(image)
    yield
    if before and before != image_id(image):
        with contextlib.suppress(Failed):  # a container of somebody's still uses it
            run("podman", "image", "rm", before)


def image_id(image: str) -> str:
    """Empty, if there is none of this name."""
    try:
        return run("podman", "image", "inspect", "--format", "{{.Id}}", image)
    except Failed:
        return ""


def image_size(image: str) -> int:
    """All layers together. Bytes."""
    return int(run("podman", "image", "inspect", "--format", "{{.Size}}", image))


def layers(image: str) -> list[tuple[int, str]]:
    """Size and origin of each layer of more than a megabyte, the base first."""
    listed = json.loads(run("podman", "history", "--format", "json", image))
    made = [(int(layer["size"]), str(layer.get("CreatedBy", ""))) for layer in listed]
    return [layer for layer in reversed(made) if layer[0] > 1_000_000]


def inspect(container: str) -> dict[str, Any]:
    """What podman knows of a container."""
    found = json.loads(run("podman", "container", "inspect", container))
    return dict(found[0])


def logs(container: str, lines: int = 15) -> str:
    """The end of what a container printed."""
    command = ("podman", "logs", "--tail", str(lines), container)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip()


def check_health(container: str) -> str:
    """Run the health check of the image now; what podman thinks of the container since."""
    state = inspect(container)["State"]
    if not state["Running"]:
        code = state["ExitCode"]
        raise Failed(f"{container} ended with exit code {code}:\n{logs(container)}")
    subprocess.run(["podman", "healthcheck", "run", container], capture_output=True)
    return str(inspect(container)["State"]["Health"]["Status"])


def health_line(container: str) -> str:
    """What the last health check printed."""
    return str(inspect(container)["State"]["Health"]["Log"][-1]["Output"]).strip()


def hears_sigterm(container: str) -> bool:
    """The first process has a handler: the kernel keeps the signal from one without."""
    status = run("podman", "exec", container, "cat", "/proc/1/status")
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@dataclass
class Containers:
    """The containers, volumes and the network of one trial. All of it is gone afterwards."""

    prefix: str
    _names: set[str] = field(default_factory=set)
    _volumes: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        run("podman", "network", "create", self.prefix)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in sorted(self._names):
            with contextlib.suppress(Failed):
                run("podman", "rm", "--force", "--volumes", "--time", "5", self.full(name))
        for volume in sorted(self._volumes):
            with contextlib.suppress(Failed):
                run("podman", "volume", "rm", "--force", self.full(volume))
        with contextlib.suppress(Failed):
            run("podman", "network", "rm", "--force", self.prefix)

    def full(self, name: str) -> str:
        """Its name among all containers of this machine, and for the others on the network."""
        return f"{self.prefix}-{name}"

    def start(self, name: str, image: str, *options: str, keep: bool = True) -> None:
        """Start a container. What it keeps is in a volume of its name, unless it need not ``keep`` it."""
        self._names.add(name)
        place: tuple[str, ...] = ()
        if keep:
            self._volumes.add(name)
            place = ("--volume", f"{self.full(name)}:/home/fedops")
        network = ("--network", self.prefix)
        given = (*network, *place, *CONFINED, *options)
        run("podman", "run", "--detach", "--name", self.full(name), *given, image)

    def execute(self, name: str, *command: str) -> str:
        """What a command prints that is run inside of a container."""
        return run("podman", "exec", self.full(name), *command)

    def stop(self, name: str) -> tuple[float, int]:
        """``podman stop``: how long it took, and the exit code of the program."""
        begin = time.monotonic()
        run("podman", "stop", "--time", str(STOP_SECONDS), self.full(name))
        seconds = time.monotonic() - begin
        return seconds, int(inspect(self.full(name))["State"]["ExitCode"])

    def remove(self, names: Sequence[str]) -> None:
        """Remove containers; their named volumes stay."""
        for name in names:
            run("podman", "rm", "--volumes", self.full(name))
            self._names.discard(name)
