"""The zip file that an app travels in: what it may hold, and how it is unpacked. Nothing of it is run."""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from fedops.core.errors import Invalid

#: What a bundle may grow to when it is unpacked, and how many files it may hold.
MAX_UNPACKED = 512 << 20
MAX_FILES = 10_000
#: What reading a damaged zip file raises.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
)


def check_entries(archive: zipfile.ZipFile) -> None:
    """``Invalid``: it holds too much, a link, a name twice, or a path that leads out of it."""
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise Invalid(f"the app bundle holds {len(entries)} files, more than {MAX_FILES}")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise Invalid(f"the app bundle unpacks to more than {MAX_UNPACKED >> 20} MiB")
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if not is_inside(name):
            raise Invalid(f"the app bundle holds '{name[:200]}', a path that leads out of it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Invalid(f"the app bundle holds a symbolic link: '{name[:200]}'")
        if name in seen:
            raise Invalid(f"the app bundle holds '{name[:200]}' twice")
        seen.add(name)


def is_inside(name: str) -> bool:
    """Whether a path in a bundle stays in it, on every system."""
    path = PurePosixPath(name)
    plain = "\\" not in name and ":" not in name and "\0" not in name
    return plain and not path.is_absolute() and ".." not in path.parts and bool(path.parts)


def unpacked_bytes(file: Path) -> int:
    """How much a bundle unpacks to, by its own word.

    Raises:
        Invalid: it is no bundle.
    """
    with _opened(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def unpack(file: Path, folder: Path) -> None:
    """Write what a bundle holds into a new folder.

    Raises:
        Invalid: it is no bundle, or one that holds what it must not.
        OSError: the disk takes no more.
    """
    with _opened(file) as archive:
        folder.mkdir(parents=True)
        for entry in archive.infolist():
            target = folder.joinpath(*PurePosixPath(entry.filename).parts)
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(archive, entry, target)


def _opened(file: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise Invalid(f"the app bundle is no readable zip file: {error}") from None
    try:
        check_entries(archive)
    except Invalid:
        archive.close()
        raise
    return archive


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """What the zip says of a file's size is its bound: ``zipfile`` reads no byte more."""
    try:
        with archive.open(entry) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
    except OSError:
        raise
    except UNREADABLE as error:
        raise Invalid(f"'{entry.filename[:200]}' in the app bundle is damaged: {error}") from None
