"""Who of the Server Managers of a database starts FL servers, looks at the clock and tidies up."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy.orm import Session


class Leadership(Protocol):
    """Thread-safe."""

    @property
    def shared(self) -> bool:
        """Whether other Server Managers may serve the same database."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this one is the one, now."""
        ...

    def confirm(self, session: Session) -> None:
        """``Conflict`` when this one does not lead any more, whatever it believes."""
        ...


class Alone:
    """There is no other Server Manager."""

    shared = False
    leads = True

    def confirm(self, session: Session) -> None:
        """Nothing to ask."""
