"""``fedops client upgrade`` in an environment of its own: forward, not forward, and back."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pydantic
import pytest

from fedops.client.device.data_dir import DataDir, Identity

SRC = Path(__file__).parents[3] / "src"
BROKEN = "raise ImportError('half a release')\n"
SCRIPT = "[console_scripts]\nfedops = fedops.cli.__main__:main\n"


def wheel(version: str, more: str = "") -> bytes:
    """This FedOps as a wheel of another version; ``more`` ends its first module."""
    files = {
        f"fedops/{path.relative_to(SRC / 'fedops').as_posix()}": path.read_text(encoding="utf-8")
        for path in (SRC / "fedops").rglob("*")
        if path.suffix in (".py", ".typed", ".mako", ".css")
    }
    files["fedops/__init__.py"] = f'__version__ = "{version}"\n{more}'
    info = f"fedops-{version}.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: fedops\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = SCRIPT
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """What a Server Manager serves of itself, and how it answers a device."""

    release, more, status = "2.0.0", "", 404

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = f"fedops-{self.server.release}-py3-none-any.whl"
        if self.path == f"/{name}":
            self._say(200, wheel(self.server.release, self.server.more))
        elif self.path == "/simple/fedops/":
            self._say(200, f'<a href="/{name}">{name}</a>'.encode())
        else:
            kind = {"kind": "not_found", "error": "NotFound", "message": "use another release"}
            self._say(self.server.status, json.dumps(kind).encode())

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header(
            "content-type", "text/html" if body.startswith(b"<a") else "application/json"
        )
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Answers)
    thread = Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


class Machine:
    """A device with release 1.0.0 in an environment of its own; what FedOps needs it has already."""

    def __init__(self, folder: Path, url: str) -> None:
        venv.create(folder / "env", symlinks=True)
        self.python = folder / "env" / "bin" / "python"
        self.site = next((folder / "env" / "lib").glob("python*/site-packages"))
        (self.site / "others.pth").write_text(str(Path(pydantic.__file__).parents[1]))
        zipfile.ZipFile(io.BytesIO(wheel("1.0.0"))).extractall(self.site)
        self.home = DataDir(folder / "home")
        self.home.create()
        Identity(url, "1", "pi", "fo_device_x", time.time()).save(self.home)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.home.path)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [str(self.python), *words], env=env, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.begin("-m", "fedops.cli", *words)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        return self.run("client", "upgrade", "--home", str(self.home.path), "--json")

    @property
    def version(self) -> str:
        return self.run("--version").stdout.strip()

    def files(self) -> dict[str, str]:
        found = [*(self.site / "fedops").rglob("*.py"), *self.site.glob("?edops-*/*")]
        return {
            str(path.relative_to(self.site)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in found
        }


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"), server.url)


@pytest.mark.parametrize(
    ("release", "more", "status", "words"),
    [
        ("2.0.1", BROKEN, 404, "half a release"),
        ("2.0.2", "", 426, "the server refuses it: use another release"),
    ],
)
def test_a_release_that_does_not_work_here_goes_away_again(
    machine: Machine, server: Server, release: str, more: str, status: int, words: str
) -> None:
    server.release, server.more, server.status = release, more, status
    before = machine.files()
    done = machine.upgrade()
    assert done.returncode == 6, done.stderr
    message = json.loads(done.stdout)["message"]
    assert words in message
    assert "FedOps 1.0.0 was put back" in message
    assert machine.files() == before
    assert machine.version == "fedops 1.0.0"
    assert not (machine.home.path / "release-before").exists()


def test_a_client_manager_that_ends_meanwhile_has_the_release_before_put_back(
    machine: Machine, server: Server
) -> None:
    """What the Client Manager runs is told to end while the new release is tried."""
    server.release, server.status = "2.0.3", 404
    server.more = "import time\nprint('here')\ntime.sleep(60)\n"
    before = machine.files()
    child = machine.begin("-m", "fedops.client.upgrade.upgrade_here", str(machine.home.path))
    deadline = time.monotonic() + 30.0
    while not list(machine.site.glob("fedops-2.0.3.*")):  # it is half installed, or just whole
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.terminate()
    child.communicate(timeout=30)
    assert child.returncode not in (0, -signal.SIGTERM)
    assert machine.files() == before
    assert sorted(path.name for path in machine.site.glob("*edops*")) == [
        "fedops",
        "fedops-1.0.0.dist-info",
    ]


def test_the_servers_release_takes_the_place_of_another(machine: Machine, server: Server) -> None:
    server.release, server.more, server.status = "0.9.0", "", 404  # older, and still the server's
    done = machine.upgrade()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"before": "1.0.0", "now": "0.9.0", "restarting": False}
    assert machine.version == "fedops 0.9.0"


def test_a_folder_that_somebody_works_in_is_left_alone(tmp_path: Path) -> None:
    """This very FedOps, as it is installed for the tests, or one that is no package."""
    home = DataDir(tmp_path / "home")
    home.create()
    Identity("http://127.0.0.1:9", "1", "pi", "fo_device_x", time.time()).save(home)
    command = [sys.executable, "-m", "fedops.cli", "client", "upgrade", "--home", str(home.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert "somebody works on it" in done.stderr
