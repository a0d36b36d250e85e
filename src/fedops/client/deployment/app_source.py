"""Where the app of a Client Manager comes from, as the Client Manager sees it."""

from __future__ import annotations

from typing import Protocol

from fedops.client.local.messages import AwaitedCommit, DeployedStatus
from fedops.core.contracts import DeploymentReport, Work


class AppSource(Protocol):
    """Says which app the training client runs. May be used by any thread; nothing here waits."""

    @property
    def folder(self) -> str | None:
        """The folder of the app that runs; None: none does yet."""
        ...

    def start(self) -> None:
        """Begin. The training client is being supervised already."""
        ...

    def stop(self) -> None:
        """Let go of everything, as it is."""
        ...

    def take(self, work: Work) -> None:
        """What the server wants."""
        ...

    def learn(self, fingerprint: str) -> None:
        """The training client says which parameter contract its app has."""
        ...

    def reports(self) -> list[DeploymentReport]:
        """As the server is told."""
        ...

    def status(self) -> DeployedStatus | None:
        """As the owner of the device is told. None: the app is not deployed."""
        ...

    def awaited(self) -> AwaitedCommit:
        """What waits for the owner.

        Raises:
            Conflict: nothing does.
        """
        ...

    def approve(self, commit: str) -> None:
        """The owner allows a commit; its first letters will do.

        Raises:
            Conflict: that is not the commit which waits.
        """
        ...
