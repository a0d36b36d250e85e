"""The folder that the owner's programs read: a model, what it is, and both as they were before.

Each file is replaced whole. The model comes first and ``model.json`` after it, so for a moment the two may
not belong together: the sha256 in ``model.json`` tells, and whoever was killed in between goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedops.client.serving.served_model import ServedModel, read_document
from fedops.failpoints import reached
from fedops.platforms.files import link_file
from fedops.storage.atomic_files import atomic_file, sha256_of, write_atomic
from fedops.storage.disk import sync_folders

MODEL, ABOUT, BEFORE = "model.safetensors", "model.json", ".before"
#: Other users' programs read these: who gets into the folder is for its owner to say.
_MODE = 0o644
_BLOCK = 1 << 20
_Stat = tuple[int, int, int]


class WrongBytes(Exception):
    """A file that was to be put in place is not the model that it should be."""


class ServingFolder:
    """Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / MODEL
        self.before = path / (MODEL + BEFORE)
        self._about = path / ABOUT
        self._about_before = path / (ABOUT + BEFORE)
        self._digests: dict[Path, tuple[_Stat, str]] = {}

    def current(self) -> ServedModel | None:
        """What is in place, if the model and what is said of it belong together."""
        return self._what_is(self.model, self._about)

    def former(self) -> ServedModel | None:
        """What was in place before, if it is still there."""
        return self._what_is(self.before, self._about_before)

    def find(self, sha256: str) -> Path | None:
        """A file here that has these bytes."""
        files = (self.model, self.before)
        return next((file for file in files if self._digest(file) == sha256), None)

    def prepare(self) -> None:
        """Make the folder, for this user only, and remove what an earlier life has left half done."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in (MODEL, ABOUT, MODEL + BEFORE, ABOUT + BEFORE):
            for rest in self.path.glob(f".{name}.*"):
                with contextlib.suppress(OSError):
                    rest.unlink()

    def place(self, source: Path, model: ServedModel) -> None:
        """Put a model in place; what was there is kept as the one before.

        Raises:
            WrongBytes: ``source`` is not that model. All is as it was.
            OSError: the disk is full, or the folder is not ours to write to.
        """
        if self._digest(self.model) != model.sha256:
            with self._replacing(self.model, source, model.sha256):
                self._keep()
                reached("manager.serving.kept")
            reached("manager.serving.model")
        self._write(self._about, model)
        reached("manager.serving.placed")

    def bring_back(self, model: ServedModel) -> None:
        """Put the model before back in place. Repeating changes nothing. Raises as ``place``."""
        if self._digest(self.model) != model.sha256:
            with self._replacing(self.model, self.before, model.sha256):
                pass
        self._write(self._about, model)

    def _keep(self) -> None:
        """The model that is in place gets a second name, so that there is one in place all the time."""
        if self.model.is_symlink() or not self.model.is_file():
            return
        about = self.current()
        if about is None and self.former() is not None:
            return  # somebody was killed in between: better a version that is known
        self._about_before.unlink(missing_ok=True)
        spare = self.path / f".{MODEL}{BEFORE}.new"
        spare.unlink(missing_ok=True)
        try:
            link_file(self.model, spare)
        except OSError:  # not every file system has links
            with self._replacing(self.before, self.model):
                pass
        else:
            spare.replace(self.before)
            spare.unlink(missing_ok=True)  # it stays where both were names of one file already
        if about is not None:
            self._write(self._about_before, about)

    @contextmanager
    def _replacing(self, target: Path, source: Path, sha256: str | None = None) -> Iterator[None]:
        """What is done here is done when a copy of ``source`` is whole, and before it becomes ``target``."""
        digest = hashlib.sha256()
        with atomic_file(target, _MODE) as out:
            with source.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
                    out.write(block)
            if sha256 is not None and digest.hexdigest() != sha256:
                raise WrongBytes(source)
            yield
        sync_folders([self.path])

    def _write(self, path: Path, model: ServedModel) -> None:
        write_atomic(path, (model.model_dump_json(indent=2) + "\n").encode(), _MODE)

    def _what_is(self, file: Path, about: Path) -> ServedModel | None:
        said = read_document(about, ServedModel)
        return said if said is not None and self._digest(file) == said.sha256 else None

    def _digest(self, file: Path) -> str | None:
        """Of a file, read again only when it is another one. None: there is none."""
        try:
            seen = _stat(file)
            known = self._digests.get(file)
            if known is None or known[0] != seen:
                known = self._digests[file] = (seen, sha256_of(file))
            return known[1]
        except OSError:
            return None


def _stat(file: Path) -> _Stat:
    found = os.stat(file)
    return found.st_ino, found.st_size, found.st_mtime_ns
