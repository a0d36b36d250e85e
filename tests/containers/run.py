"""The images of server and device: built without a daemon, run, joined, two rounds, stopped, made anew.

``make containers`` runs it. It needs buildah, podman and the network, takes minutes, and leaves two images.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import compose_trial
import pip_config
from container_engine import (
    ROOT,
    Containers,
    Failed,
    build,
    check_health,
    health_line,
    hears_sigterm,
    image_size,
    layers,
    logs,
    replacing,
    require_programs,
    run,
)

from fedops.api_client import OperatorClient, fetch_authority, trust_pem
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.server_authority import split_fingerprint
from fedops.demo.federation import FEDOPS, free_port
from fedops.settings import cli_settings
from fedops.waiting import wait_until

IMAGES = {"server": "localhost/fedops-server", "device": "localhost/fedops-device"}
DEVICES = ("device-1", "device-2")
TASK, APP, DATA = "mnist", ROOT / "apps" / "mnist-xai", "/data/mnist"
#: A machine that does other things too takes long to import PyTorch. Seconds.
START_SECONDS, HEALTHY_SECONDS, READY_SECONDS, RUN_SECONDS = 60.0, 120.0, 300.0, 900.0
ZOMBIE_SECONDS = 20.0
#: Lists the programs that build, the pip of our environment, and what pip and apt keep for the next time.
LEFTOVERS = """
for program in cc gcc g++ ld make cargo; do command -v $program || true; done
ls -d /src /build /opt/fedops/bin/pip* /opt/fedops/lib/python3*/site-packages/pip 2>/dev/null || true
find / -xdev \\( -path '*/.cache/pip' -o -path '/var/cache/apt/archives/*.deb' \\) 2>/dev/null || true
"""


def say(text: str) -> None:
    print(f"containers: {text}", flush=True)


def check(so: object, otherwise: str) -> None:
    if not so:
        raise Failed(otherwise)


@dataclass
class Trial:
    """One server and its devices, each in a container of its own."""

    containers: Containers
    port: int = field(default_factory=free_port)

    # --- the server ----------------------------------------------------------------------------

    def start_server(self) -> None:
        """Start the server; returns when it is healthy."""
        name = f"FEDOPS_SERVER_PUBLIC_URL=https://{self.containers.full('server')}:8600"
        reached = ("--publish", f"127.0.0.1:{self.port}:8600", "--env", name)
        self.containers.start("server", IMAGES["server"], *reached, *data())
        self.until_healthy("server")

    @functools.cached_property
    def join_url(self) -> str:
        """What a device joins: the server's name in the network, and its authority's fingerprint."""
        return str(self.fedops("server", "status")["join_url"])

    @property
    def url(self) -> str:
        """The same from this machine."""
        return f"https://127.0.0.1:{self.port}#{split_fingerprint(self.join_url).fingerprint}"

    @property
    def token(self) -> str:
        return self.containers.execute("server", "cat", "/home/fedops/.fedops/server/admin-token")

    def operator(self) -> OperatorClient:
        address, fingerprint = split_fingerprint(self.url)
        verify = trust_pem(fetch_authority(address, fingerprint or ""))
        return OperatorClient(address, token=self.token, verify=verify)

    def fedops(self, *words: str) -> Any:
        """An operator's command, typed inside of the server's container."""
        return json.loads(self.containers.execute("server", "fedops", *words, "--json"))

    # --- devices -------------------------------------------------------------------------------

    def start_device(self, name: str, token: str = "") -> None:
        """Start a device; ``token`` makes it one, the first time."""
        given = {"FEDOPS_SERVER": self.join_url, "FEDOPS_DEVICE_NAME": name}
        given |= {"FEDOPS_JOIN_TOKEN": token} if token else {}
        words = [word for key, value in given.items() for word in ("--env", f"{key}={value}")]
        self.containers.start(name, IMAGES["device"], *words, *data())

    def until_healthy(self, name: str) -> None:
        full = self.containers.full(name)
        healthy = wait_until(lambda: check_health(full) == "healthy", HEALTHY_SECONDS, every=1.0)
        line = health_line(full)
        check(healthy, f"{name} is not healthy: {line}\n{logs(full)}")
        say(f"  {name} is healthy ({line})")

    def until_ready(self) -> None:
        """All devices online, their training clients idle."""
        for name in DEVICES:
            self.until_healthy(name)

        def ready() -> bool:
            for name in DEVICES:
                check_health(self.containers.full(name))  # raises, if it has ended
            with self.operator() as client:
                return all(d.online and d.process.status == "idle" for d in client.devices())

        self.until("all devices to be ready", ready, READY_SECONDS)

    def until(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        if not wait_until(condition, seconds, every=1.0):
            full = self.containers.full
            words = "\n".join(logs(full(name), 5) for name in ("server", *DEVICES))
            raise Failed(f"waited {seconds:.0f} s in vain for {what}:\n{words}")

    # --- runs ----------------------------------------------------------------------------------

    def finish_run(self, rounds: int) -> c.RunRead:
        """Start a run and see it through."""
        with self.operator() as client:
            overrides = [f"num_rounds={rounds}"]
            begun = client.start_run(TASK, c.RunStart.model_validate({"overrides": overrides}))
            said: list[str] = []

            def over() -> bool:
                found = client.run(begun.id)
                if f"{found.committed_rounds}" not in said:
                    said.append(f"{found.committed_rounds}")
                    say(f"  {found.committed_rounds} of {rounds} rounds")
                return found.ended_at is not None

            self.until("the run to end", over, RUN_SECONDS)
            found = client.run(begun.id)
        check(found.status == "completed", f"run {found.id} is {found.status}: {found.why}")
        check(found.committed_rounds == rounds, f"{found.committed_rounds} rounds of {rounds}")
        return found

    # --- ends ----------------------------------------------------------------------------------

    def stop(self, names: Sequence[str]) -> None:
        """Each ends by itself when told to, in time and in good order."""
        for name in names:
            seconds, code = self.containers.stop(name)
            words = logs(self.containers.full(name))
            check(code == 0, f"{name} ended with exit code {code} after {seconds:.1f} s:\n{words}")
            say(f"  {name} ended in {seconds:.1f} s, exit code {code}")

    def stop_while_starting(self, role: str) -> None:
        """A program that is being loaded ends as well: the first process has to see to this itself."""
        name = f"early-{role}"
        self.containers.start(name, IMAGES[role], keep=False)
        full = self.containers.full(name)
        heard = wait_until(lambda: hears_sigterm(full), START_SECONDS, every=0.05)
        check(heard, f"the {role} hears no SIGTERM:\n{logs(full)}")
        seconds, code = self.containers.stop(name)
        check(code in (0, 128 + signal.SIGTERM), f"the {role} ended with exit code {code}")
        say(f"  {role} ended in {seconds:.1f} s, exit code {code}")


def create_task(url: str, token: str, clients: int) -> None:
    """From the app's folder, which is on this machine."""
    command = (*FEDOPS, "task", "create", TASK, "--app", str(APP))
    run(*command, "--set", f"clients_per_round={clients}", FEDOPS_SERVER=url, FEDOPS_TOKEN=token)


def data_volumes() -> list[str]:
    """MNIST's files, if this machine has them; else the app fetches them."""
    folder = cli_settings().mnist_dir
    return [] if folder is None else [f"{folder.resolve()}:{DATA}:ro"]


def data() -> list[str]:
    """The options of a container that reads the data."""
    volumes = [word for volume in data_volumes() for word in ("--volume", volume)]
    return [*volumes, "--env", f"FEDOPS_MNIST_DIR={DATA}"] if volumes else []


# --- the steps ---------------------------------------------------------------------------------


def build_images(base: str, extras: dict[str, str | None]) -> None:
    pip = pip_config.of_this_machine()
    for role, image in IMAGES.items():
        say(f"building {image} on {base} ...")
        begin = time.monotonic()
        with replacing(image):
            build(role, image, base, extras[role], pip)
        say(f"  {time.monotonic() - begin:.0f} s, {image_size(image) / 1e6:.0f} MB")


def show_confinement(trial: Trial, name: str) -> None:
    """Nobody in there is root, and nothing can be written but what is kept."""
    uid = trial.containers.execute(name, "id", "-u")
    check(uid == "8600", f"{name} runs as user {uid}")
    status = trial.containers.execute(name, "cat", "/proc/1/status")
    check("CapEff:\t0000000000000000\n" in status, f"{name} has capabilities:\n{status}")
    try:
        trial.containers.execute(name, "touch", "/opt/fedops/x")
    except Failed:
        say(f"  {name}: user {uid}, no capabilities; all but /home/fedops and /tmp is read-only")
        return
    raise Failed(f"the file system of {name} can be written to")


def show_contents(trial: Trial, name: str) -> None:
    """What builds images is in none of them."""
    found = trial.containers.execute(name, "sh", "-c", LEFTOVERS)
    check(not found, f"{name} has what only a build needs:\n{found}")
    say(f"  {name}: no compiler, no pip of its own, no cache")


def join(trial: Trial) -> None:
    token = trial.fedops("token", "create", "--uses", str(len(DEVICES)))["token"]
    for name in DEVICES:
        trial.start_device(name, token)
    trial.until_ready()


def show_explanations(trial: Trial) -> None:
    """What the device's image has is enough for what the app asks for."""
    script = "find /home/fedops -name 'sheet-*.png' | wc -l"
    for name in DEVICES:
        found = int(trial.containers.execute(name, "sh", "-c", script))
        check(found, f"{name} has explained nothing:\n{logs(trial.containers.full(name))}")
        say(f"  {name} has made {found} sheets of explanations")


def zombies(trial: Trial, name: str) -> str:
    """Processes that have ended and for which nobody has waited."""
    script = "cat /proc/[0-9]*/stat 2>/dev/null | grep ') Z ' || true"
    return trial.containers.execute(name, "sh", "-c", script)


def until_no_zombies(trial: Trial, name: str) -> None:
    """A program waits for its children now and then; the first process also for those of others."""
    gone = wait_until(lambda: not zombies(trial, name), ZOMBIE_SECONDS, every=1.0)
    check(gone, f"{name} does not wait for processes that have ended:\n{zombies(trial, name)}")


def make_anew(trial: Trial) -> None:
    """Containers go, volumes stay: so do devices, history and models."""
    with trial.operator() as client:
        before = {device.id for device in client.devices()}
    trial.stop((*DEVICES, "server"))
    trial.containers.remove((*DEVICES, "server"))
    trial.start_server()
    for name in DEVICES:
        trial.start_device(name)  # without a token
    trial.until_ready()
    with trial.operator() as client:
        after = {device.id for device in client.devices()}
        runs = [(found.id, found.status, found.version) for found in client.runs()]
    check(after == before, f"the devices were {before}, now they are {after}")
    check(runs == [(1, "completed", 1)], f"of run 1 is left: {runs}")
    say("  the same devices, without a token; run 1 and V1 are there")


def try_images() -> None:
    with Containers(f"fedops-try-{os.getpid()}") as containers:
        trial = Trial(containers)
        say("starting the server")
        trial.start_server()
        say(f"starting {len(DEVICES)} devices, which join with a token")
        create_task(trial.url, trial.token, clients=len(DEVICES))
        join(trial)
        for name in ("server", DEVICES[0]):
            show_confinement(trial, name)
            show_contents(trial, name)
        say("training")
        found = trial.finish_run(rounds=2)
        say(f"  run {found.id} is {found.status}: V{found.version}, {metrics(found)}")
        show_explanations(trial)
        for name in ("server", *DEVICES):
            until_no_zombies(trial, name)
        say("removing the containers and making them anew on their volumes")
        make_anew(trial)
        found = trial.finish_run(rounds=1)
        say(f"  run {found.id} is {found.status}: V{found.version}, {metrics(found)}")
        trial.stop((*DEVICES, "server"))
        say("stopping programs that are still being loaded")
        for role in IMAGES:
            trial.stop_while_starting(role)


def try_compose() -> None:
    """A machine may have podman without it."""
    if not compose_trial.can_compose():
        say("deploy/compose.yaml is not tried: podman-compose is not installed")
        return
    say("deploy/compose.yaml")
    volumes, port = data_volumes(), free_port()
    device = {"volumes": volumes, "environment": {"FEDOPS_MNIST_DIR": DATA}} if volumes else {}
    with compose_trial.project(f"fedops-compose-{os.getpid()}", port, device) as compose:
        url = f"https://127.0.0.1:{port}"
        compose_trial.try_compose(
            compose,
            say,
            lambda token, fingerprint: create_task(f"{url}#{fingerprint}", token, clients=1),
        )


def metrics(found: c.RunRead) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in sorted(found.metrics.items()))


def show_sizes() -> None:
    for image in IMAGES.values():
        parts = " + ".join(f"{size / 1e6:.0f}" for size, _ in layers(image))
        say(f"{image}: {image_size(image) / 1e6:.0f} MB ({parts})")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make containers", description=__doc__)
    parser.add_argument("--base", default="python:3.11-slim", help="the image to build on")
    parser.add_argument("--server-extras", metavar="A,B", help="another EXTRAS for the server")
    parser.add_argument("--device-extras", metavar="A,B", help="another EXTRAS for the device")
    parser.add_argument("--built", action="store_true", help="take the images that are there")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    begin = time.monotonic()
    try:
        require_programs()
        if not given.built:
            build_images(given.base, {"server": given.server_extras, "device": given.device_extras})
        try_images()
        try_compose()
        show_sizes()
    except (Failed, FedOpsError) as error:
        say(f"FAILED after {time.monotonic() - begin:.0f} s: {error}")
        return 1
    say(f"all is well, {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
