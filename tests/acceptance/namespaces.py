"""Machines of a network, as far as the network goes: a namespace each, with links between them."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_numbers = itertools.count()


def ip(*words: str) -> None:
    """Run Debian's ``ip``."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Machine:
    """A namespace. "" is the one that the tests are in."""

    name: str

    def inside(self, command: Sequence[str]) -> list[str]:
        """A command as it is run there."""
        return ["ip", "netns", "exec", self.name, *command] if self.name else list(command)

    def ip(self, *words: str) -> None:
        ip(*(("-n", self.name) if self.name else ()), *words)


@dataclass
class Network:
    """Makes machines and links; all of it is gone at the end."""

    machines: list[Machine] = field(default_factory=list)
    _ends: list[tuple[Machine, str]] = field(default_factory=list)

    def machine(self) -> Machine:
        made = Machine(f"fo{os.getpid()}-{next(_numbers)}")
        ip("netns", "add", made.name)
        self.machines.append(made)
        made.ip("link", "set", "lo", "up")
        return made

    def link(self, one: Machine, address: str, other: Machine, other_address: str) -> None:
        """A cable between two machines, with the addresses of both ends (``10.0.0.1/24``)."""
        ends = [f"v{os.getpid()}x{next(_numbers)}" for _ in range(2)]
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for machine, end, own in zip((one, other), ends, (address, other_address), strict=True):
            self._ends.append((machine, end))
            if machine.name:
                ip("link", "set", end, "netns", machine.name)
            machine.ip("addr", "add", own, "dev", end)
            machine.ip("link", "set", end, "up")

    def remove(self, machine: Machine) -> None:
        """A machine with all its cables."""
        self.machines.remove(machine)
        ip("netns", "del", machine.name)

    def close(self) -> None:
        for machine, end in self._ends:
            with suppress(subprocess.CalledProcessError):  # it went with the other end
                machine.ip("link", "del", end)
        for machine in self.machines:
            ip("netns", "del", machine.name)


def _remove_leftovers() -> None:
    """What a test run left that was killed: its addresses would lead our packets to nobody."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    for name in re.findall(r"^fo\d+-\S+", listed.stdout, re.MULTILINE):
        if _is_left(int(name[2:].split("-")[0])):
            _drop("netns", "del", name)
    listed = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=False)
    for end, owner in re.findall(r"^(v(\d+)x\d+)@", listed.stdout, re.MULTILINE):
        if _is_left(int(owner)):
            _drop("link", "del", end)


def _is_left(pid: int) -> bool:
    """Whether the test run with this process id has ended."""
    return not Path(f"/proc/{pid}").exists()


def _drop(*words: str) -> None:
    with suppress(subprocess.CalledProcessError):  # it went by itself in the meantime
        ip(*words)


@contextmanager
def network() -> Iterator[Network]:
    """A network of its own; the test is skipped where nobody may make one."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program 'ip' (apt-get install iproute2)")
    made = Network()
    _remove_leftovers()
    try:
        ip("netns", "add", f"fo{os.getpid()}-probe")
        ip("netns", "del", f"fo{os.getpid()}-probe")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    try:
        yield made
    finally:
        made.close()
