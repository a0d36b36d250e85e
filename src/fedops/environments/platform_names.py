"""How a platform is named: ``3.11/x86_64-manylinux_2_36``, and what uv and wheels call it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain

from packaging import tags

from fedops.core.errors import Invalid

#: As ``packaging.tags`` names the platform of an interpreter that wheels are made for.
_TAG = re.compile(r"(manylinux|musllinux|macosx)_(\d+)_(\d+)_([a-z0-9_]+)")
_NAME = re.compile(r"3\.(\d{1,2})/([a-z0-9_]{1,20})-([a-z]+)(?:_(\d{1,3})[._](\d{1,3}))?")
_WINDOWS = {"win_amd64": "x86_64", "win_arm64": "aarch64", "win32": "i686"}
#: The releases of glibc that uv knows, after 2.
_GLIBC = (17, 28, *range(31, 41))
#: A wheel for this glibc may also carry the older name.
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLD_ARCHES = ("x86_64", "i686")


@dataclass(frozen=True)
class _Platform:
    """``kind``: manylinux, musllinux, macos or windows; ``release``: of its C library or of macOS."""

    minor: int
    arch: str
    kind: str
    release: tuple[int, int]


def platform_name() -> str:
    """That of this interpreter. ``Invalid``: no wheels are made for it."""
    best = next(iter(tags.platform_tags()))
    return f"{_python()}/{named_tag(best)}"


def _python() -> str:
    version = tags.interpreter_version()
    return f"{version[0]}.{version[1:]}"


def named_tag(tag: str) -> str:
    """``manylinux_2_36_x86_64`` as ``x86_64-manylinux_2_36``. ``Invalid``: nothing of ours runs there."""
    if tag in _WINDOWS:
        return f"{_WINDOWS[tag]}-windows"
    found = _TAG.fullmatch(tag)
    if found is None:
        raise Invalid(f"no wheels are made for a platform such as '{tag[:80]}'")
    kind, major, minor, arch = found.groups()
    if kind == "macosx":
        return f"{arch}-macos_{major}.{minor}"
    return f"{arch}-{kind}_{major}_{minor}"


def uv_arguments(name: str) -> list[str]:
    """What makes uv choose for it. ``Invalid``: it is unknown to us or to uv."""
    platform = _parse(name)
    arguments = ["--python-version", f"3.{platform.minor}", "--python-platform"]
    return [*arguments, _uv_name(platform, name)]


def uv_variables(name: str) -> dict[str, str]:
    """What uv wants in its environment for it."""
    platform = _parse(name)
    if platform.kind != "macos":
        return {}
    return {"MACOSX_DEPLOYMENT_TARGET": f"{platform.release[0]}.{platform.release[1]}"}


def wheel_tags(name: str) -> list[tags.Tag]:
    """What a wheel's name may say to be used there, the best first."""
    platform = _parse(name)
    version, abi = (3, platform.minor), f"cp3{platform.minor}"
    names = _platform_tags(platform)
    return list(
        chain(
            tags.cpython_tags(version, [abi], names),
            tags.compatible_tags(version, abi, names),
        )
    )


def _parse(name: str) -> _Platform:
    found = _NAME.fullmatch(name)
    kind = found[3] if found else ""
    if found is None or kind not in ("manylinux", "musllinux", "macos", "windows"):
        raise _unknown(name)
    if (kind == "windows") != (found[4] is None):
        raise _unknown(name)
    release = (int(found[4] or 0), int(found[5] or 0))
    return _Platform(int(found[1]), found[2], kind, release)


def _unknown(name: str) -> Invalid:
    return Invalid(
        f"'{name[:80]}' is no platform that packages are chosen for; such as "
        "3.11/x86_64-manylinux_2_36, 3.12/arm64-macos_14.0 and 3.12/x86_64-windows are"
    )


def _uv_name(platform: _Platform, name: str) -> str:
    """What ``--python-platform`` takes."""
    arch = platform.arch
    known = {
        ("windows", "x86_64"): "x86_64-pc-windows-msvc",
        ("windows", "aarch64"): "aarch64-pc-windows-msvc",
        ("windows", "i686"): "i686-pc-windows-msvc",
        ("macos", "arm64"): "aarch64-apple-darwin",
        ("macos", "x86_64"): "x86_64-apple-darwin",
        ("musllinux", "x86_64"): "x86_64-unknown-linux-musl",
        ("musllinux", "aarch64"): "aarch64-unknown-linux-musl",
        ("manylinux", "riscv64"): "riscv64-unknown-linux",
    }
    if platform.kind == "manylinux" and arch in ("x86_64", "aarch64"):
        older = [minor for minor in _GLIBC if (2, minor) <= platform.release]
        if older:
            return f"{arch}-manylinux_2_{older[-1]}"
    elif (platform.kind, arch) in known:
        return known[platform.kind, arch]
    raise Invalid(
        f"uv chooses no packages for {name[:80]}: the device needs a 64-bit system of the last ten years"
    )


def _platform_tags(platform: _Platform) -> list[str]:
    arch, (major, minor) = platform.arch, platform.release
    if platform.kind == "windows":
        return [tag for tag, its in _WINDOWS.items() if its == arch]
    if platform.kind == "macos":
        return list(tags.mac_platforms((major, minor), arch))
    if platform.kind == "musllinux":
        return [f"musllinux_{major}_{older}_{arch}" for older in range(minor, -1, -1)]
    return [*_manylinux_tags(major, minor, arch), f"linux_{arch}"]


def _manylinux_tags(major: int, minor: int, arch: str) -> list[str]:
    oldest, found = (5 if arch in _OLD_ARCHES else 17), []
    for older in range(minor, oldest - 1, -1):
        found.append(f"manylinux_{major}_{older}_{arch}")
        if older in _OLD_NAMES:
            found.append(f"{_OLD_NAMES[older]}_{arch}")
    return found
