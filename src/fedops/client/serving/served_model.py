"""What is said of a model beside its file (``model.json``), and what a device remembers of it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field

from fedops.client.device.data_dir import write_secret
from fedops.core.contracts import DesiredModel, Digest, Finite
from fedops.core.contracts.base import Name, Report

#: Neither file is larger than this unless it is damaged. Bytes.
_MOST = 1 << 20
R = TypeVar("R", bound=Report)


class ServedModel(Report):
    """``model.json``: which version the file beside it is. For the owner's programs, too."""

    task: Name
    version: int = Field(ge=0)
    sha256: Digest
    size: int = Field(ge=0)
    metrics: dict[str, Finite] = Field(default_factory=dict)
    #: POSIX seconds by the server's clock.
    promoted_at: float

    @classmethod
    def of(cls, desired: DesiredModel) -> ServedModel:
        """What is wanted, as it is written beside the file."""
        return cls.model_validate(desired.model_dump(include=set(cls.model_fields)))

    def is_same(self, other: ServedModel | None) -> bool:
        """Whether it is the same version with the same file."""
        return other is not None and self._identity() == other._identity()

    def _identity(self) -> tuple[str, int, str]:
        return self.task, self.version, self.sha256


class Remembered(Report):
    """What must survive a restart, in the data dir."""

    #: What the command has taken; without a command, what is in the folder.
    active: ServedModel | None = None
    #: The version that the owner does not want: the one before stays until another is wanted.
    held: int | None = None

    @classmethod
    def load(cls, path: Path) -> Remembered:
        """Nothing, when there is no such file or it is damaged: then the command is run once more."""
        return read_document(path, cls) or cls()

    def save(self, path: Path) -> None:
        write_secret(path, self.model_dump_json() + "\n")


def read_document(path: Path, kind: type[R]) -> R | None:
    """A small JSON file. None: it is missing, damaged or too large."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
        return kind.model_validate_json(data) if len(data) <= _MOST else None
    except (OSError, ValueError):
        return None
