"""An app's folder on its way to the server: as one file, with the Git commit that it is at."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedops.api_client import OperatorClient
from fedops.flower.app_package import build_bundle
from fedops.processes.short_commands import output_of

_SECONDS = 10.0


@dataclass(frozen=True)
class PackedApp:
    bundle: bytes
    #: None: no Git, or no commit there.
    commit: str | None

    @classmethod
    def of(cls, folder: Path) -> PackedApp:
        """Pack a folder.

        Raises:
            Invalid: it is no app folder, or Flower does not accept it.
        """
        return cls(build_bundle(folder), git_commit(folder))

    def upload(self, client: OperatorClient) -> str:
        """Put it on the server; returns its sha256."""
        with tempfile.TemporaryDirectory(prefix="fedops-") as place:
            file = Path(place) / "app.fab"
            file.write_bytes(self.bundle)
            return client.upload_bundle(file, self.commit).sha256


def git_commit(folder: Path) -> str | None:
    """The commit, with ``-dirty`` when files differ from it. None: no Git, or no commit there."""
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--", ".")
    return commit if changed == "" else f"{commit}-dirty"


def _git(folder: Path, *words: str) -> str | None:
    said = output_of(["git", "-C", str(folder), *words], seconds=_SECONDS)
    return None if said is None else said.strip()
