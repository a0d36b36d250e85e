"""The port to what executes runs: Flower in production, a fake in tests."""

from __future__ import annotations

from typing import Protocol


class RunEngine(Protocol):
    """Starts Flower runs and knows nodes.

    Every failure is ``Unavailable``, but a bundle or key that it will never take is ``Invalid``.
    """

    @property
    def generation(self) -> int:
        """Grows whenever the engine was restarted: node ids and runs of before are gone."""
        ...

    @property
    def fleet_url(self) -> str | None:
        """Where the Fleet API answers the gateway, on loopback. None while the engine is down."""
        ...

    def start(self) -> None:
        """Bring the engine up; returns when it answers."""
        ...

    def stop(self) -> None:
        """End the engine and every process it started."""
        ...

    def ensure_healthy(self) -> bool:
        """Restart what died. True when everything was up already."""
        ...

    def why(self) -> str:
        """One sentence on how the engine is, for operators."""
        ...

    def register_node(self, public_key: bytes) -> str:
        """Make a device's node key (OpenSSH, EC P-384) known; returns the node id."""
        ...

    def start_run(self, bundle: bytes) -> str:
        """Submit an app bundle in server mode; returns the engine's run id."""
        ...

    def stop_run(self, engine_run_id: str) -> None:
        """End a run. Not running any more is no error."""
        ...

    def run_ended(self, engine_run_id: str) -> str | None:
        """None while the run lives, else how it ended ("finished:failed")."""
        ...

    def run_log(self, engine_run_id: str) -> str:
        """The last lines that an ended run wrote; empty when they are not known."""
        ...

    def process_alive(self, pid: int) -> bool:
        """Whether this is a living process of one of the engine's runs."""
        ...

    def kill_process(self, pid: int) -> None:
        """End such a process at once. Gone already is no error."""
        ...
