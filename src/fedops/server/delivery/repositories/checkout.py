"""The files of one commit, written into a folder of their own. Whatever they are, nothing else is touched."""

from __future__ import annotations

import posixpath
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.core.suggestions import did_you_mean
from fedops.server.delivery.repositories.git_command import GitFailed, ask_mirror, running
from fedops.server.delivery.repositories.git_mirror import GitMirror
from fedops.server.delivery.repositories.tree_paths import (
    TreePaths,
    named,
    require_inside,
    require_link_inside,
)

#: What a checkout may hold, as an app bundle may.
MAX_FILES = 10_000
MAX_BYTES = 512 << 20
_LINK, _SUBMODULE, _FOLDER = "120000", "160000", "040000"
_MAX_LINK = 4_096
_BLOCK = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_MAX_POINTER = 1_024


@dataclass(frozen=True)
class Entry:
    """One file of a commit."""

    path: str
    mode: str
    object: str
    size: int


@dataclass
class Checkout:
    """Files of a commit below ``root``, at the paths that they have in the repository."""

    root: Path
    #: What is good to know of them, a sentence each.
    notes: list[str] = field(default_factory=list)
    _paths: TreePaths = field(default_factory=TreePaths, repr=False)
    _there: list[str] = field(default_factory=list, repr=False)
    _files: int = 0
    _bytes: int = 0

    def add(self, mirror: GitMirror, commit: str, folder: str) -> Path:
        """Write one folder of the commit (``""``: all of it); returns where it is.

        Raises:
            NotFound: the commit has no such folder.
            Invalid: something in it must not be written, or it is too much.
            Unavailable: the server's copy of the repository cannot be read.
        """
        folder = folder.strip("/")
        if folder:
            require_inside(folder)
        entries = self._admitted(list_tree(mirror, commit, folder))
        files = [entry for entry in entries if entry.mode != _LINK]
        links = [entry for entry in entries if entry.mode == _LINK]
        with _reading(mirror) as child:
            for entry in files:
                self._write(child, entry)
            targets = [(entry, _read(child, entry, _MAX_LINK)) for entry in links]
        for entry, target in targets:
            self._link(entry, target.decode(errors="surrogateescape"))
        self._judge_links([entry.path for entry in links])
        self._there.append(folder)
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        return self.root / folder

    def _admitted(self, entries: list[Entry]) -> list[Entry]:
        """Those that are not there yet, each found to be harmless."""
        new = [entry for entry in entries if not self._has(entry.path)]
        for entry in new:
            _require_kind(entry)
            self._paths.add(entry.path)
        self._files += len(new)
        self._bytes += sum(entry.size for entry in new)
        if self._files > MAX_FILES or self._bytes > MAX_BYTES:
            raise Invalid(
                f"it holds {self._files:,} files of {self._bytes >> 20:,} MiB: {MAX_FILES:,} files and "
                f"{MAX_BYTES >> 20} MiB are taken at most. Name the app's own folder with --subfolder, and "
                "keep data out of Git"
            )
        return new

    def _has(self, path: str) -> bool:
        return any(not folder or path.startswith(f"{folder}/") for folder in self._there)

    def _write(self, child: subprocess.Popen[bytes], entry: Entry) -> None:
        file = self.root / entry.path
        file.parent.mkdir(parents=True, exist_ok=True)
        begins = b""
        with file.open("xb") as opened:
            for block in _blocks(child, entry):
                begins = begins or block[: len(_LFS)]
                opened.write(block)
        file.chmod(0o700 if entry.mode.endswith("755") else 0o600)
        if begins == _LFS and entry.size <= _MAX_POINTER:
            self.notes.append(
                f"'{named(entry.path)}' is a pointer of Git LFS: what it points to is not fetched"
            )

    def _link(self, entry: Entry, target: str) -> None:
        require_link_inside(entry.path, target)
        link = self.root / entry.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        self.notes.append(
            f"'{named(entry.path)}' is a symbolic link, which does not travel in a bundle"
        )

    def _judge_links(self, paths: list[str]) -> None:
        """Where they end, through whatever other links."""
        root = self.root.resolve()
        for path in paths:
            try:
                inside = (self.root / path).resolve().is_relative_to(root)
            except (OSError, RuntimeError):  # a circle
                inside = False
            if not inside:
                raise Invalid(
                    f"'{named(path)}' is a symbolic link that leads out of the repository by way of others: "
                    "put the file itself there"
                )


def _require_kind(entry: Entry) -> None:
    if entry.mode == _SUBMODULE:
        raise Invalid(
            f"it holds the submodule '{named(entry.path)}', and submodules are not fetched: put its files "
            "into the repository, or name it as a requirement"
        )
    if entry.mode != _LINK and not entry.mode.startswith("100"):
        raise Invalid(f"'{named(entry.path)}' is neither a file nor a link (mode {entry.mode})")


def list_tree(mirror: GitMirror, commit: str, folder: str) -> list[Entry]:
    """The files of a folder of a commit, with their whole paths. ``NotFound``: it has no such folder."""
    try:
        said = ask_mirror(
            mirror.access, mirror.folder, "ls-tree", "-r", "-z", "-l", f"{commit}:{folder}"
        )
    except GitFailed as failed:
        raise _no_folder(mirror, commit, folder, failed) from None
    return [_entry(line, folder) for line in said.split(b"\0") if line]


def _entry(line: bytes, folder: str) -> Entry:
    told, _, path = line.partition(b"\t")
    mode, _, name, size = told.decode("ascii", "replace").split()
    text = path.decode("utf-8", "surrogateescape")
    # Joined as text: what is wrong with the path must stay to be seen.
    whole = f"{folder}/{text}" if folder else text
    return Entry(whole, mode, name, int(size) if size.isdigit() else 0)


def _no_folder(mirror: GitMirror, commit: str, folder: str, failed: GitFailed) -> Exception:
    above = posixpath.dirname(folder)
    try:
        said = ask_mirror(
            mirror.access, mirror.folder, "ls-tree", "-d", "-z", "--name-only", f"{commit}:{above}"
        )
    except GitFailed:
        if not folder:
            return Unavailable(f"commit {commit[:12]} cannot be read: {failed.said.strip()[:300]}")
        said = b""
    names = [posixpath.join(above, n.decode(errors="replace")) for n in said.split(b"\0") if n]
    there = f"; it has: {', '.join(map(named, names[:20]))}" if names else ""
    guess = did_you_mean(folder, names) or there
    return NotFound(f"commit {commit[:12]} has no folder '{named(folder)}'{guess}")


# --- contents --------------------------------------------------------------------------------


@contextmanager
def _reading(mirror: GitMirror) -> Iterator[subprocess.Popen[bytes]]:
    """``git cat-file --batch`` of a mirror."""
    try:
        with running(mirror.access, mirror.folder, ["cat-file", "--batch"]) as child:
            yield child
    except (GitFailed, BrokenPipeError) as failed:
        raise Unavailable(f"the commit cannot be read: {str(failed).strip()[:300]}") from None


def _read(child: subprocess.Popen[bytes], entry: Entry, most: int) -> bytes:
    if entry.size > most:
        raise Invalid(f"'{named(entry.path)}' is a symbolic link of {entry.size:,} bytes")
    return b"".join(_blocks(child, entry))


def _blocks(child: subprocess.Popen[bytes], entry: Entry) -> Iterator[bytes]:
    """The content of an entry. It has the size that was announced."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{entry.object}\n".encode())
    child.stdin.flush()
    told = child.stdout.readline(200).split()
    if len(told) != 3 or not told[2].isdigit() or int(told[2]) != entry.size:
        raise Unavailable(
            f"'{named(entry.path)}' is missing in the server's copy of the repository"
        )
    left = entry.size
    while left:
        block = child.stdout.read(min(left, _BLOCK))
        if not block:
            raise Unavailable(f"'{named(entry.path)}' ends early in the server's copy")
        left -= len(block)
        yield block
    child.stdout.read(1)
