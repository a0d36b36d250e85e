"""What uv has locked (a pylock.toml), and the one wheel of each package for a platform."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from fedops.core.errors import Invalid
from fedops.environments.platform_names import wheel_tags

#: More than any app needs.
MAX_PACKAGES = 2_000


@dataclass(frozen=True)
class LockedWheel:
    """A wheel of a lock.

    ``name``: of the distribution; ``file``: of the wheel; ``size``: in bytes, if the index says it;
    ``location``: a URL, or a path on this machine.
    """

    name: str
    version: str
    file: str
    sha256: str
    size: int | None
    location: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.location


@dataclass(frozen=True)
class Lock:
    """All wheels of an environment, by the names of their distributions.

    ``named``: the distributions that the app names itself.
    """

    wheels: tuple[LockedWheel, ...]
    named: tuple[str, ...]


def read_lock(file: Path, platform: str) -> list[LockedWheel]:
    """The wheels that a lock has for a platform. ``Invalid``: a package has none."""
    packages = tomllib.loads(file.read_text(encoding="utf-8")).get("packages", [])
    if len(packages) > MAX_PACKAGES:
        raise Invalid(f"the app needs {len(packages)} packages, more than {MAX_PACKAGES}")
    ranks = {tag: rank for rank, tag in enumerate(wheel_tags(platform))}
    return [_best_wheel(package, ranks, platform, file.parent) for package in packages]


def preferred_lock(prefer: Mapping[str, str]) -> str:
    """A lock from which uv takes versions over where they fit."""
    entries = [
        f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'
        for name, version in prefer.items()
    ]
    return "\n".join(['lock-version = "1.0"\ncreated-by = "fedops"\n', *entries])


def _best_wheel(
    package: dict[str, Any], ranks: dict[Tag, int], platform: str, folder: Path
) -> LockedWheel:
    """A package has several wheels for a platform, or one that was named by its URL."""
    archive = package.get("archive")
    found = [
        (rank, wheel)
        for entry in (package.get("wheels") or ([archive] if archive else []))
        if (wheel := _wheel(package, entry, folder))
        and (rank := _rank(wheel.file, ranks)) is not None
    ]
    if not found:
        raise Invalid(
            f"{package.get('name')} {package.get('version', '')} has no wheel for {platform}: "
            "name another version of it in the app's dependencies, or leave out what needs it"
        )
    return min(found, key=lambda one: one[0])[1]


def _wheel(package: dict[str, Any], entry: dict[str, Any], folder: Path) -> LockedWheel | None:
    location, sha256 = _location(entry, folder), entry.get("hashes", {}).get("sha256")
    file = entry.get("name") or unquote(urlsplit(location).path).rpartition("/")[2]
    if not location or not sha256 or not file.endswith(".whl"):
        return None
    return LockedWheel(
        name=canonicalize_name(package["name"]),
        version=package.get("version") or str(parse_wheel_filename(file)[1]),
        file=file,
        sha256=sha256,
        size=entry.get("size"),
        location=location,
    )


def _location(entry: dict[str, Any], folder: Path) -> str:
    if path := entry.get("path"):
        return str((folder / path).resolve())
    url = str(entry.get("url", ""))
    return unquote(urlsplit(url).path) if url.startswith("file://") else url


def _rank(file: str, ranks: dict[Tag, int]) -> int | None:
    """How good a wheel is: the smaller, the better. None: it is not for the platform."""
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return None
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)
