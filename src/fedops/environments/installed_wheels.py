"""Wheels of what is installed here, for packages that an index has as source only.

To build such a package would run its code on the server. Its installed files are what building gave before.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    PackagePath,
    distribution,
    distributions,
)
from pathlib import Path

from packaging.utils import canonicalize_name

from fedops.environments.wheel_files import write_wheel

#: Of what FedOps itself needs: those that no index has a wheel of.
SOURCE_ONLY = ("antlr4-python3-runtime",)
#: What an installer adds.
_OF_INSTALLER = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")


def installed_versions() -> dict[str, str]:
    """The versions of what is installed beside FedOps, by distribution names."""
    found: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name and canonicalize_name(name) != "fedops":
            found.setdefault(canonicalize_name(name), one.version)
    return found


def installed_wheels(names: Iterable[str], folder: Path) -> list[Path]:
    """Wheels in ``folder`` of those that are installed here as pure Python. Made once a version."""
    made = (_installed_wheel(name, folder) for name in names)
    return [path for path in made if path]


def _installed_wheel(name: str, folder: Path) -> Path | None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    wheel = found.read_text("WHEEL") or ""
    if "Root-Is-Purelib: true" not in wheel or "Tag: py3-none-any" not in wheel:
        return None
    stem = f"{canonicalize_name(name).replace('-', '_')}-{found.version}"
    path = folder / f"{stem}-py3-none-any.whl"
    if not path.is_file():
        files = _files(found, stem)
        if files is None:
            return None
        write_wheel(path, f"{stem}.dist-info", files)
    return path


def _files(found: Distribution, stem: str) -> dict[str, bytes] | None:
    """By their paths in a wheel. None: something lies outside the packages, or is not there."""
    files = {}
    for one in found.files or ():
        place = _place(found, one, stem)
        if place == "":
            continue
        path = Path(str(found.locate_file(one)))
        if place is None or not path.is_file():
            return None
        data = path.read_bytes()
        files[place] = _for_any_python(data) if ".data/" in place else data
    return files or None


def _place(found: Distribution, one: PackagePath, stem: str) -> str | None:
    """Where an installed file lies in a wheel. "": an installer makes it itself. None: nowhere."""
    info = one.parts[0].endswith(".dist-info")
    if one.suffix == ".pyc" or (info and one.name in _OF_INSTALLER):
        return ""
    if ".." in one.parts:
        scripts = {point.name for point in found.entry_points if "scripts" in point.group}
        if one.parent.name not in ("bin", "Scripts"):
            return None
        return "" if one.stem in scripts else f"{stem}.data/scripts/{one.name}"
    return "/".join([f"{stem}.dist-info", *one.parts[1:]]) if info else one.as_posix()


def _for_any_python(script: bytes) -> bytes:
    """A script whose first line an installer may replace by that of its own interpreter."""
    first, end, rest = script.partition(b"\n")
    return b"#!python" + end + rest if first.startswith(b"#!") and b"python" in first else script
