"""A Flower of a test's own: an empty home, ports that nobody else uses, and the commands a user types."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from fedops.demo.federation import free_port
from fedops.processes.process_tree import TREE_VARIABLE
from fedops.processes.spawn import spawn, tethered

START_SECONDS = 90.0
_ENDED = "finished:"


class Flower:
    """``flwr`` in an app's folder, as on a machine that has never seen it.

    Its home has a short path: Ray's sockets lie below it.
    """

    def __init__(self, app: Path, env: Mapping[str, str]) -> None:
        self.app = app
        self.home = Path(tempfile.mkdtemp(prefix="flwr-"))
        programs = str(Path(sys.executable).parent)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FEDOPS_", "FLWR_"))}
        self.env = {
            **kept,
            "HOME": str(self.home),
            "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
            "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "RAY_TMPDIR": str(self.home),
            "RAY_USAGE_STATS_ENABLED": "0",
            "UV_OFFLINE": "1",  # nothing may be fetched
            TREE_VARIABLE: self.home.name,
            **env,
        }
        # Flower's SuperLink outlives whoever started it. If these tests are killed, the tether ends it.
        self._tether = spawn(tethered(["sleep", "86400"], grace=0.0, tree=self.home.name))
        self.link = "local"
        self._parts: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    # --- commands -----------------------------------------------------------------------------------

    def run(self, *options: str, **run_config: Any) -> str:
        """``flwr run .``; returns the run's id."""
        said = self._json("run", ".", self.link, *options, *_run_config(run_config))
        assert said["success"], said
        return str(said["run-id"])

    def stream(self, **run_config: Any) -> subprocess.Popen[bytes]:
        """``flwr run . --stream`` in a terminal; what it shows is in ``shown``."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C must reach it
        try:
            command = ["flwr", "run", ".", self.link, "--stream", *_run_config(run_config)]
            return self.part(*command, name="stream")
        finally:
            signal.signal(signal.SIGINT, before)

    def stop(self, run_id: str) -> None:
        """``flwr stop RUN``."""
        assert self._json("stop", run_id, self.link)["success"]

    def log(self, run_id: str) -> str:
        """``flwr log RUN --show``."""
        return self._flwr("log", run_id, self.link, "--show")

    def status(self, run_id: str) -> str:
        return str(self._listed(run_id)["status"])

    def newest(self) -> str:
        """The id of the run submitted last."""
        return str(self._json("list", self.link)["runs"][0]["run-id"])

    def build(self) -> Path:
        """``flwr build``; the bundle's file."""
        folder = self.home / "build"
        folder.mkdir()
        self._flwr("build", "--app", str(self.app), cwd=folder)
        (bundle,) = folder.glob("*.fab")
        return bundle

    def connect(self, name: str, port: int) -> None:
        """Make a SuperLink of one's own known to ``flwr``, and use it."""
        (self.home / ".flwr").mkdir()
        text = f'[superlink.{name}]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
        (self.home / ".flwr" / "config.toml").write_text(text)
        self.link = name

    def part(self, *command: str, name: str) -> subprocess.Popen[bytes]:
        """Start a command that stays."""
        with self._file(name).open("wb") as out:
            process = subprocess.Popen(
                command, cwd=self.app, env=self.env, stdout=out, stderr=subprocess.STDOUT
            )
        self._parts.append(process)
        return process

    def shown(self, name: str) -> str:
        """What a command that stays has printed so far."""
        return self._file(name).read_text(errors="replace")

    # --- waiting ------------------------------------------------------------------------------------

    def ended(self, run_id: str, seconds: float = START_SECONDS) -> tuple[str, str]:
        """The status that a run ends with, and its whole log."""
        self._flwr("log", run_id, self.link, "--stream", seconds=seconds)  # as long as the run
        self.until("the run's end", lambda: self.status(run_id).startswith(_ENDED), 20)
        return self.status(run_id), self.log(run_id)

    def until(
        self, what: str, condition: Callable[[], object], seconds: float = START_SECONDS
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
            time.sleep(0.1)

    @staticmethod
    def answers(port: int) -> bool:
        """Whether a SuperLink listens there."""
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    # --- its end ------------------------------------------------------------------------------------

    def processes(self, *words: str) -> list[psutil.Process]:
        """What runs with this home, if given only what has one of the words in its command line."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                ours = process.environ().get("HOME") == str(self.home)
                if ours and (not words or any(word in line for word in words)):
                    found.append(process)
        return found

    def close(self) -> None:
        """End everything, Flower's own SuperLink too."""
        self._tether.terminate()
        self._tether.wait()
        assert self._tether.stdin is not None
        self._tether.stdin.close()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for part in self._parts:
            part.wait()
        self.until("all to end", lambda: not self.processes(), 20.0)
        shutil.rmtree(self.home, ignore_errors=True)

    # --- parts --------------------------------------------------------------------------------------

    def _listed(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._json("list", self.link, "--run-id", run_id)["runs"][0]
        return found

    def _file(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _json(self, *words: str) -> dict[str, Any]:
        out = self._flwr(*words, "--format", "json")
        found: dict[str, Any] = json.loads(out[out.index("{") :])
        return found

    def _flwr(self, *words: str, cwd: Path | None = None, seconds: float = START_SECONDS) -> str:
        done = subprocess.run(
            ["flwr", *words],
            cwd=cwd or self.app,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _run_config(values: Mapping[str, Any]) -> list[str]:
    text = " ".join(f'{key}="{value}"' for key, value in values.items())
    return ["--run-config", text] if text else []
