"""Files as each operating system has them: locks, links, and what survives a power cut."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import IO

#: For ``os.open``: bytes as they are, which only Windows has to be told.
BINARY: int = getattr(os, "O_BINARY", 0)
#: For ``os.open``: a symbolic link is an error. Windows makes links for administrators only.
NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)
#: For ``os.open``: a file that is only read, and is to be synced. Windows syncs what can be written to.
READ_AND_SYNC: int = BINARY | (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
#: For ``os.open``: what another user may have put there is read, and never waited for.
READ_OTHERS: int = BINARY | NO_LINKS | getattr(os, "O_NONBLOCK", 0)
_BY_DESCRIPTOR = Path("/proc/self/fd")


def lock_file(file: IO[str]) -> None:
    """Lock an open file until it is closed. ``OSError``: another process has it."""
    if sys.platform == "win32":
        import msvcrt

        # Beyond the text, so that others can still read who holds it.
        file.seek(1024)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def keep_to_owner() -> None:
    """What this process makes from now on is its user's alone. For programs, when their folders are there.

    On Windows the folder above decides.
    """
    if sys.platform != "win32":
        os.umask(0o077)


def make_own(folder: Path) -> bool:
    """A folder that others can neither enter nor read. Returns whether they could before.

    Folders above it that are missing are made as this user makes folders. ``PermissionError``: it is
    another user's. Windows gives rights as the folder above has them.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True, mode=0o700)
    if sys.platform == "win32":
        return False
    else:
        if folder.stat().st_mode & 0o077 == 0:
            return False
        folder.chmod(0o700)
        return True


def give_to_owner_of(folder: Path, path: Path) -> None:
    """What root writes into another user's folder is that user's. Of others it is their own in any case."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def open_others(path: Path) -> IO[bytes]:
    """A file from a folder that another user may change meanwhile. ``OSError``: it is a link, or no file."""
    file = os.open(path, READ_OTHERS)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, "it is no file", str(path))
    return os.fdopen(file, "rb")


def is_ours(path: Path) -> bool:
    """Whether this user owns it. Windows does not tell."""
    if sys.platform == "win32":
        return True
    else:
        return path.lstat().st_uid == os.geteuid()


def read_at(file: int, size: int, offset: int) -> bytes:
    """So many bytes at most. On Windows it moves the place at which the file is read next."""
    if sys.platform == "win32":
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, size)
    else:
        return os.pread(file, size, offset)


def sync_data(file: int) -> None:
    """The bytes of an open file are durable afterwards."""
    if sys.platform == "linux":
        os.fdatasync(file)
    else:
        os.fsync(file)


def sync_path(path: Path) -> None:
    """A file, or the names in a folder, are durable afterwards. Windows sees to folders itself."""
    if sys.platform == "win32" and path.is_dir():
        return
    file = os.open(path, READ_AND_SYNC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_all() -> None:
    """All that any program has written so far is durable afterwards. Windows has no such thing."""
    if sys.platform != "win32":
        os.sync()


def link_file(source: Path, target: Path) -> None:
    """A further name of a file; of a symbolic link itself where that can be told."""
    if os.link in os.supports_follow_symlinks:
        os.link(source, target, follow_symlinks=False)
    else:
        os.link(source, target)


def link_open_file(file: int, path: Path, target: Path) -> None:
    """A further name. ``FileNotFoundError`` when it has none, or ``path`` became another file's."""
    if sys.platform == "linux" and _BY_DESCRIPTOR.exists():
        os.link(_BY_DESCRIPTOR / str(file), target, src_dir_fd=file)
        return
    os.link(path, target)
    if not os.path.samestat(target.stat(), os.fstat(file)):
        target.unlink()
        raise FileNotFoundError(path)


def has_no_inodes(where: Path) -> bool:
    """Whether its disk holds no more files, however small. Windows does not count them."""
    if sys.platform == "win32":
        return False
    else:
        try:
            found = os.statvfs(where if where.exists() else where.parent)
        except OSError:
            return False
        return found.f_files > 0 and found.f_favail == 0
