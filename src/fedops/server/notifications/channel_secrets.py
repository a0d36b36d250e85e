"""The secrets of channels: a file each in the server's home, which only the server reads."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedops.core.errors import NotFound, Unavailable
from fedops.platforms.files import make_own
from fedops.storage.atomic_files import write_atomic


@dataclass(frozen=True)
class ChannelSecrets:
    """A file is never changed: another secret is another file, which the channel's row names."""

    folder: Path

    @contextmanager
    def kept(self, channel: str, secret: str) -> Iterator[str]:
        """Keep a secret; gives the name of its file, "" for none. If the block fails, it is gone again."""
        if not secret:
            yield ""
            return
        name = f"{channel}-{secrets.token_hex(6)}"
        try:
            make_own(self.folder)
            write_atomic(self.folder / name, secret.encode(), 0o600)
        except OSError as error:
            raise Unavailable(f"cannot keep a secret in {self.folder}: {error.strerror}") from None
        try:
            yield name
        except BaseException:
            self.forget(name)
            raise

    def read(self, name: str) -> str:
        """A secret by the name of its file. ``NotFound`` when this server's home does not have it."""
        if not name:
            return ""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFound(
                "the secret of this channel is not in this server's home: give it again with "
                "'fedops notification change'"
            ) from None

    def forget(self, name: str) -> None:
        """Remove a file. Repeating is harmless."""
        if name:
            (self.folder / name).unlink(missing_ok=True)
