"""What one system alone has is called in ``fedops.platforms`` only, and no import of FedOps needs it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fedops

SOURCES = Path(fedops.__file__).parent
#: Modules that Windows lacks.
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "crypt", "spwd"}
#: What Windows or macOS lacks of modules that they have.
NAMES = {
    "os": {
        *("fork", "forkpty", "nice", "getuid", "geteuid", "getgid", "getpgid", "getpgrp", "setsid"),
        *("killpg", "setpriority", "getpriority", "pidfd_open", "sched_setaffinity", "getloadavg"),
        *("sched_getaffinity", "fchmod", "fchown", "chown", "statvfs", "posix_fallocate", "pread"),
        *(
            "pwrite",
            "fdatasync",
            "mkfifo",
            "uname",
            "wait3",
            "wait4",
            "sysconf",
            "sync",
            "sendfile",
        ),
        *("O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "WNOHANG", "get_blocking"),
    },
    "signal": {
        *("SIGKILL", "SIGHUP", "SIGQUIT", "SIGSTOP", "SIGCONT", "SIGBUS", "SIGALRM", "SIGUSR1"),
        *("SIGUSR2", "SIGCHLD", "SIGPIPE", "alarm", "setitimer", "pthread_kill", "pthread_sigmask"),
    },
    "socket": {"AF_UNIX", "SO_REUSEPORT"},
    "select": {"poll", "epoll", "kqueue"},
}
#: Of base: what belongs to an extra is not there.
EXTRAS = (
    *("torch", "torchvision", "keras", "tensorflow", "jax", "sklearn", "transformers", "peft"),
    *("boto3", "botocore", "psycopg", "wandb", "captum", "shap", "ray", "scipy", "pandas"),
)
#: Rooms and modules that stand for an extra: who imports them has it.
OF_EXTRAS = (
    *("fedops.scalize.frameworks.", "fedops.explain.", "fedops.storage.s3"),
    "fedops.scalize.export.torch_export",
    *("fedops.server.peers.notify_channel", "fedops.server.peers.manager_group"),
)

#: What runs in the interpreter of a user's command, where FedOps may not be, and what it may use that every
#: system has, or leaves out where it is not there.
INJECTED, OF_INJECTED = SOURCES / "scalize" / "observing" / "injected", {"ctypes", "/proc/"}

CHILD = """
import importlib, importlib.abc, json, os, pkgutil, select, signal, socket, sys
modules, names, extras = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(extras))
import fedops

def import_all():
    failed = {}
    for found in pkgutil.walk_packages(fedops.__path__, "fedops.", onerror=lambda name: None):
        if ".migrations." in found.name or found.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(found.name)
        except (ImportError, AttributeError) as error:
            failed[found.name] = repr(error)
    return failed

# At first as it is, so that what others need of this system is imported.
before = import_all()
for name in [name for name in sys.modules if name.split(".")[0] == "fedops"]:
    del sys.modules[name]
sys.modules.update(dict.fromkeys(modules))
for module, lacking in names.items():
    for name in lacking:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
import fedops
again = import_all()
print(json.dumps([before, again, sum(name.startswith("fedops.") for name in sys.modules)]))
"""


def test_every_module_of_base_is_imported_where_nothing_of_linux_is() -> None:
    wanted = json.dumps(
        [sorted(MODULES), {module: sorted(names) for module, names in NAMES.items()}, EXTRAS]
    )
    command = [sys.executable, "-W", "ignore", "-c", CHILD, wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    before, again, count = json.loads(done.stdout)
    assert again == before
    assert [name for name in before if not name.startswith(OF_EXTRAS)] == []
    assert count > 250


def test_only_the_room_for_it_calls_what_one_system_has() -> None:
    found = [
        f"{path.relative_to(SOURCES)}:{line}: {what}"
        for path in sorted(SOURCES.rglob("*.py"))
        if path.parent.name != "platforms"
        for line, what in of_one_system(ast.parse(path.read_text()))
        if not (path.is_relative_to(INJECTED) and what in OF_INJECTED)
    ]
    assert found == []


def test_the_look_for_it_finds_it() -> None:
    code = "import fcntl\nimport os, ctypes\nfrom signal import SIGKILL\nos.pread(1, 2, 3)\nos.open('x', 0)\n"
    code += "open('/proc/self/fd')\n"
    assert [line for line, _ in of_one_system(ast.parse(code))] == [1, 2, 3, 4, 6]


def of_one_system(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where, and what."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name in MODULES | {"ctypes"})
        elif isinstance(node, ast.ImportFrom):
            names = NAMES.get(node.module or "", set())
            if node.module in MODULES | {"ctypes"}:
                yield node.lineno, str(node.module)
            yield from ((node.lineno, a.name) for a in node.names if a.name in names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NAMES.get(node.value.id, ()):
                yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg == "preexec_fn":
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.Constant) and str(node.value).startswith("/proc/"):
            yield node.lineno, str(node.value)
