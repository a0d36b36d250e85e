"""A federation over TLS: machines with a network each, a join by one line, and somebody on the way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from federating import LIGHT, WITH_LIGHT, part_of, until
from namespaces import Machine, Network, network

from fedops.core import contracts as c
from fedops.core.states import ParticipationStatus, RunStatus
from fedops.demo.federation import FEDOPS, Federation
from fedops.flower.app_bundle import PackedApp
from fedops.processes.spawn import clean_env

SERVER = "10.231.1.1"
#: Our own machine's end of the cable is in the namespace that other test runs share.
OPERATORS = f"10.231.{16 + os.getpid() % 200}"
FOR_OPERATORS = f"{OPERATORS}.1"
NAMES = ("left", "right")


class OnMachines(Federation):
    """Its server and its devices are on machines of their own; the tests are the operator's machine."""

    server_machine: Machine
    device_machine: Machine

    @property
    def url(self) -> str:
        return f"https://{FOR_OPERATORS}:{self.port}"

    def server_command(self, *options: str) -> list[str]:
        return self.server_machine.inside(super().server_command(*options))

    def client_command(
        self, name: str, app: Path, tasks: Sequence[str], overrides: Sequence[str] = ()
    ) -> list[str]:
        return self.device_machine.inside(super().client_command(name, app, tasks, overrides))

    def on_server(self, *words: str) -> str:
        """What a command prints that the operator types on the server's machine."""
        command = self.server_machine.inside([*FEDOPS, *words])
        env = {"FEDOPS_SERVER_HOME": str(self.server_home)}
        return _finished(command, env, code=0).stdout

    def join_line(self) -> tuple[str, str]:
        """Token and URL, as the line that is pasted on a device has them."""
        text = self.on_server("token", "create")
        found = re.search(r"FEDOPS_JOIN_TOKEN=(\S+) fedops join (\S+)", text)
        assert found, text
        # The server has several addresses, and names the one that most of its peers know.
        url = re.sub(r"//[^:]+:", f"//{SERVER}:", found[2])
        return found[1], url

    def paste(
        self, machine: Machine, line: tuple[str, str], name: str, *, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        token, url = line
        home = str(self.device_home(name))
        command = [*FEDOPS, "join", url, "--name", name, "--home", home, "--wait", "5"]
        return _finished(machine.inside(command), {"FEDOPS_JOIN_TOKEN": token}, code=code)


def _finished(
    command: list[str], env: dict[str, str], *, code: int
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=clean_env(env), capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@dataclass
class World:
    federation: OnMachines
    network: Network
    device: Machine


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        network() as made,
        OnMachines(tmp_path_factory.mktemp("tls"), WITH_LIGHT, tls=True) as federation,
    ):
        server, device = made.machine(), made.machine()
        made.link(server, f"{SERVER}/24", device, "10.231.1.2/24")
        made.link(server, f"{FOR_OPERATORS}/24", Machine(""), f"{OPERATORS}.2/24")
        federation.server_machine, federation.device_machine = server, device
        federation.start_server("--host", "0.0.0.0")
        with federation.operator() as operator:
            bundle = PackedApp.of(LIGHT).upload(operator)
            operator.create_task(c.TaskCreate(name="tiny", bundle=bundle))
        yield World(federation, made, device)


def test_a_run_over_tls_after_one_pasted_line(world: World) -> None:
    federation = world.federation
    for name in NAMES:
        said = federation.paste(world.device, federation.join_line(), name)
        assert f"Joined https://{SERVER}:{federation.port} as '{name}'" in said.stdout
        assert (federation.device_home(name) / "ca.pem").stat().st_mode & 0o777 == 0o600
        federation.start_client(name, LIGHT, "tiny", overrides=part_of(NAMES, name))
    federation.until_ready(NAMES, seconds=120.0)
    with federation.operator() as operator:
        run = until(federation, operator.start_run("tiny", c.RunStart()).id, RunStatus.COMPLETED)
        for round_ in operator.rounds(run.id):
            parts = {p.device: p.status for p in round_.participations}
            assert parts == dict.fromkeys(NAMES, ParticipationStatus.REPLIED)


@contextmanager
def somebody_on_the_way(world: World, folder: Path) -> Iterator[Machine]:
    """The machine of a device whose only way to the server leads over somebody else's."""
    federation, net = world.federation, world.network
    victim, evil = net.machine(), net.machine()
    net.link(evil, f"{SERVER}/24", victim, "10.231.1.9/24")
    net.link(evil, "10.231.3.2/24", federation.server_machine, "10.231.3.1/24")
    program = Path(__file__).with_name("middleman.py")
    words = [SERVER, str(federation.port), "10.231.3.1", str(folder)]
    process = subprocess.Popen(evil.inside([sys.executable, str(program), *words]))
    try:
        federation.until("somebody on the way", lambda: (folder / "up").exists())
        yield victim
    finally:
        process.terminate()
        process.wait()
        net.remove(evil)


def test_somebody_on_the_way_gets_nothing(world: World, tmp_path: Path) -> None:
    federation = world.federation
    with somebody_on_the_way(world, tmp_path) as victim:
        done = federation.paste(victim, federation.join_line(), "victim", code=6)
    assert "was issued by 'A hospital', not by the authority that is kept here" in done.stderr
    # It passed on the server's own authority, and cannot have a certificate from it.
    heard = (tmp_path / "heard").read_bytes()
    assert set(re.findall(rb"[A-Z]+ \S+ HTTP", heard)) == {b"GET /ca.pem HTTP"}
    assert b"fo_" not in heard
    assert not (federation.device_home("victim") / "device.json").exists()


def test_a_device_that_knew_the_server_says_who_is_on_the_way(world: World, tmp_path: Path) -> None:
    """It does not give its token to somebody else, and goes on when the way is free."""
    federation = world.federation
    federation.paste(world.device, federation.join_line(), "known")
    with somebody_on_the_way(world, tmp_path) as victim:
        federation.device_machine = victim
        try:
            federation.start_client("known", LIGHT, "tiny")
        finally:
            federation.device_machine = world.device
        said = federation.until(
            "the device to say why",
            lambda: _line_with("issued by", federation.home / "logs" / "known.log"),
        )
        federation.stop("known")
    assert "was issued by 'A hospital', not by the authority that is kept here" in said
    assert b"fo_" not in (tmp_path / "heard").read_bytes()
    federation.start_client("known", LIGHT, "tiny")
    federation.until_ready(["known"], seconds=90.0)
    federation.stop("known")


def _line_with(words: str, log: Path) -> str:
    return next((line for line in log.read_text().splitlines() if words in line), "")


def test_a_new_authority_is_learnt_while_the_old_one_is_trusted(world: World) -> None:
    federation = world.federation
    federation.paste(world.device, federation.join_line(), "learner")
    known = (federation.device_home("learner") / "ca.pem").read_text()
    federation.on_server("server", "tls", "rotate")
    assert known in (federation.server_home / "tls" / "ca.pem").read_text()
    # The server shows its new certificate when the command ends.
    federation.paste(world.device, federation.join_line(), "newcomer")
    federation.start_client("learner", LIGHT, "tiny")
    federation.until(
        "the device to learn it",
        lambda: (
            (federation.device_home("learner") / "ca.pem").read_text()
            == (federation.server_home / "tls" / "ca.pem").read_text()
        ),
    )
    federation.until_ready(["learner"], seconds=90.0)
    newest = (federation.device_home("newcomer") / "ca.pem").read_text()
    assert newest != known
    assert newest in (federation.device_home("learner") / "ca.pem").read_text()
    federation.stop("learner")
