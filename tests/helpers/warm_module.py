"""Programs of ours that import a framework, each in a child forked from one process that has it already.

``python warm_module.py SOCKET MODULE...`` imports the modules and waits. ``python warm_module.py PROGRAM
WORD...``, where ``WARM_MODULES`` names that socket, has a child of it do what ``python -m PROGRAM WORD...``
would: with the environment, the folder and the output of whoever asks.

For tests of what a program says. That it is started, limited and ended is for tests of the program itself.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VARIABLE = "WARM_MODULES"


@contextmanager
def warm_modules(folder: Path, *modules: str) -> Iterator[dict[str, str]]:
    """Such a process; gives the environment in which its socket is known, and this module importable."""
    address = folder / "warm"
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, str(address), *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield {VARIABLE: str(address), "PYTHONPATH": str(Path(__file__).parent)}
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _serve(address: str, modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            with listener.accept()[0] as caller:
                said, outputs, _, _ = socket.recv_fds(caller, 1 << 20, 2)
                status = _child(listener, json.loads(said), outputs)
                caller.sendall(str(status).encode())


def _child(listener: socket.socket, asked: dict[str, Any], outputs: list[int]) -> int:
    tie, ours = os.pipe()
    child = os.fork()
    if child == 0:
        listener.close()
        os.close(ours)
        for number, source in enumerate([tie, *outputs]):
            os.dup2(source, number)
        _be(asked)
    for end in (tie, *outputs):
        os.close(end)
    _, status = os.waitpid(child, 0)
    os.close(ours)
    return os.waitstatus_to_exitcode(status)


def _be(asked: dict[str, Any]) -> None:
    from warm_parent import _draw_own_numbers, _end

    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    program, *words = asked["words"]
    sys.argv, sys.dont_write_bytecode = [program, *words], True
    sys.path.insert(0, asked["cwd"])
    _draw_own_numbers()
    try:
        importlib.import_module(program).main(*words)
    except SystemExit as end:
        _end(int(end.code or 0))
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        _end(1)
    _end(0)


def ask(words: Sequence[str]) -> int:
    """Have the program and its words done; the exit code."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[VARIABLE])
        asked = {"words": list(words), "cwd": os.getcwd(), "env": dict(os.environ)}
        socket.send_fds(server, [json.dumps(asked).encode()], [1, 2])
        return int(server.recv(64) or b"1") & 255


if __name__ == "__main__":
    if os.environ.get(VARIABLE):
        os._exit(ask(sys.argv[1:]))
    sys.path.append(str(Path(__file__).parent))
    _serve(sys.argv[1], sys.argv[2:])
