"""How what delivers code reads and writes: as the Server Manager that leads, or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy.orm import Session


class Transactions(Protocol):
    """Each call is one transaction. ``write`` raises ``Conflict`` when another Server Manager leads."""

    def read(self) -> AbstractContextManager[Session]: ...

    def write(self) -> AbstractContextManager[Session]: ...
