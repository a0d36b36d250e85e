"""Fakes and checks that ship with FedOps, for tests of ours and of whoever extends it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from fedops.core.errors import Unavailable


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
    #: Refuse what is asked, as an engine that is out of reach does.
    broken: str = ""
    _generation: int = 0
    _up: bool = False
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def generation(self) -> int:
        return self._generation

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

    def ensure_healthy(self) -> bool:
        if self._up:
            return True
        self.start()
        return False

    def why(self) -> str:
        return "the engine is up" if self._up else self.broken or "the engine is down"

    def register_node(self, public_key: bytes) -> str:
        self._require_up()
        return self.nodes.setdefault(public_key, str(next(self._ids) + 2**62))

    def start_run(self, bundle: bytes) -> str:
        self._require_up()
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
