"""Fakes and checks that ship with FedOps, for tests of ours and of whoever extends it."""

from __future__ import annotations

import io
import itertools
import zipfile
from dataclasses import dataclass, field

from fedops.core.errors import Invalid, Unavailable
from fedops.scalize.conformance import check_adapter as check_adapter


@dataclass
class FakeClock:
    """A clock that moves when it is told to."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class FakeEngine:
    """A ``RunEngine`` without processes: tests end its runs and crash it by hand."""

    #: Run id -> bundle, of the runs of this generation that live.
    running: dict[str, bytes] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    #: Public key -> node id, of this generation.
    nodes: dict[bytes, str] = field(default_factory=dict)
    #: Pids of the ServerApps that live; ``kill_process`` takes one out.
    processes: set[int] = field(default_factory=set)
    logs: dict[str, str] = field(default_factory=dict)
    #: Refuse what is asked, as an engine that is out of reach does.
    broken: str = ""
    _generation: int = 0
    _up: bool = False
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def fleet_url(self) -> str | None:
        return "http://127.0.0.1:9" if self._up else None

    def start(self) -> None:
        if self.broken:
            raise Unavailable(self.broken)
        if not self._up:
            self._up = True
            self._generation += 1

    def stop(self) -> None:
        self._up = False
        self.running.clear()
        self.ended.clear()
        self.nodes.clear()
        self.processes.clear()

    def ensure_healthy(self) -> bool:
        if self._up:
            return True
        self.start()
        return False

    def why(self) -> str:
        return "the engine is up" if self._up else self.broken or "the engine is down"

    def register_node(self, public_key: bytes) -> str:
        self._require_up()
        if not public_key.startswith(b"ecdsa-sha2-"):
            raise Invalid("this is no node key in OpenSSH form")
        return self.nodes.setdefault(public_key, str(next(self._ids) + 2**62))

    def start_run(self, bundle: bytes) -> str:
        self._require_up()
        if not zipfile.is_zipfile(io.BytesIO(bundle)):
            raise Invalid("this is no app bundle")
        run_id = str(next(self._ids) + 2**61)
        self.running[run_id] = bundle
        return run_id

    def stop_run(self, engine_run_id: str) -> None:
        self._require_up()
        self.end_run(engine_run_id, "finished:stopped")

    def run_ended(self, engine_run_id: str) -> str | None:
        self._require_up()
        if engine_run_id in self.running:
            return None
        return self.ended.get(engine_run_id, "finished:unknown")

    def run_log(self, engine_run_id: str) -> str:
        return self.logs.get(engine_run_id, "")

    def process_alive(self, pid: int) -> bool:
        return pid in self.processes

    def kill_process(self, pid: int) -> None:
        self.processes.discard(pid)

    # --- what tests do to it ---------------------------------------------------------------------

    def end_run(self, engine_run_id: str, how: str = "finished:completed") -> None:
        """The run's process ends."""
        if self.running.pop(engine_run_id, None) is not None:
            self.ended[engine_run_id] = how

    def crash(self) -> None:
        """The engine dies, and all it knew with it."""
        self.stop()

    def _require_up(self) -> None:
        if self.broken or not self._up:
            raise Unavailable(self.why())
