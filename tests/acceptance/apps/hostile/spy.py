"""A strategy of an app that looks for what it should not get to. It is put into a copy of a small app."""

import json
import os
import socket
from pathlib import Path

from flwr.serverapp.strategy import FedAvg

PLACES = json.loads("""@PLACES@""")


def tried(act):
    """ "": it could not be done."""
    try:
        return str(act())[:200] or "done"
    except OSError:
        return ""


def first_byte(path):
    with open(path, "rb") as file:
        return file.read(1)


def written(path):
    path.write_text("x")
    path.unlink()
    return path


def connect(port):
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        return connection.getpeername()


def seen():
    """What got through, by name."""
    parent = os.getppid()
    files = [Path(place) for place in PLACES["files"]]
    kernel = ("environ", "mem", "maps")
    acts = {
        **{str(file): lambda file=file: file.read_bytes() for file in files},
        **{f"parent's {n}": lambda n=n: first_byte(f"/proc/{parent}/{n}") for n in kernel},
        "parent's files": lambda: os.readlink(f"/proc/{parent}/fd/0"),
        "names": lambda: os.listdir(Path(PLACES["files"][0]).parent),
        "another port": lambda: connect(PLACES["port"]),
        "a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "to listen": lambda: socket.create_server(("127.0.0.1", 0)),
        "to signal": lambda: os.kill(parent, 0),
        "to write": lambda: written(files[0].parent / "hostile"),
    }
    return {name: found for name, act in acts.items() if (found := tried(act))}


def carried():
    """What was handed over: which secrets, which open files; and what a crash would leave."""
    numbers = os.listdir("/proc/self/fd")
    files = [tried(lambda n=n: os.readlink(f"/proc/self/fd/{n}")) for n in numbers]
    arguments = Path("/proc/self/cmdline").read_text()
    all_text = json.dumps([dict(os.environ), arguments, files])
    core = Path("/proc/self/limits").read_text().split("Max core file size")[1].split()[0]
    return {
        "secrets": [secret for secret in PLACES["secrets"] if secret in all_text],
        "files": sorted(file for file in files if file.startswith("/") and "/dev/" not in file),
        "core": core,
        "user": os.getuid(),
    }


def tell():
    print("SPY " + json.dumps({"seen": seen(), "carried": carried()}), flush=True)


class Spy(FedAvg):
    def __init__(self, **others):
        super().__init__(**others)
        tell()
        if PLACES["raises"] and (found := seen()):
            raise ValueError(f"got through: {found}")
