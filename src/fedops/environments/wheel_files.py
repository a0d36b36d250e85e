"""Wheels that are made here: the same bytes for the same content, without a build backend."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fedops.storage.atomic_files import atomic_file

#: The oldest time that a zip file can say.
_TIME = (1980, 1, 1, 0, 0, 0)
WHEEL = b"Wheel-Version: 1.0\nGenerator: fedops\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(path: Path, info: str, files: Mapping[str, bytes]) -> None:
    """Write ``files`` (by their paths within) as a wheel, with the RECORD in the folder ``info``."""
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(files.items())]
    last = "\n".join([*lines, f"{record},,", ""]).encode()
    with (
        atomic_file(path, durable=False) as out,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, data in [*sorted(files.items()), (record, last)]:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def content_digest(files: Mapping[str, bytes]) -> str:
    """The hex sha256 of names and contents."""
    found = hashlib.sha256()
    for name, data in sorted(files.items()):
        found.update(f"{len(name)}:{len(data)}:{name}".encode())
        found.update(data)
    return found.hexdigest()


def folder_files(folder: Path, prefix: str) -> dict[str, bytes]:
    """What lies in a package's folder, but for what Python, editors and systems leave there."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        for name in names:
            if name.startswith(".") or name.endswith((".pyc", "~", ".orig", ".rej")):
                continue
            path = Path(place) / name
            found[f"{prefix}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return found
