"""Which platform pip or uv is on, as both say in the User-Agent of their requests."""

from __future__ import annotations

import json
import re
from typing import Any

#: Of the JSON that follows ``pip/25.0 `` or ``uv/0.9.0 ``. Characters.
_MOST = 4_096
_ARCHES = {"amd64": "x86_64", "x64": "x86_64", "x86": "i686", "i386": "i686"}
#: What musl is taken to be that does not say its release.
_MUSL = "musllinux_1_2"


def platform_of_agent(agent: str) -> str | None:
    """Such as ``3.11/x86_64-manylinux_2_36``. None: it does not say."""
    name, _, text = agent.partition(" ")
    if not name.startswith(("pip/", "uv/")) or len(text) > _MOST:
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    python = re.match(r"3\.\d{1,2}(?=\.|$)", _text(said, "python"))
    system = _system(said)
    return f"{python[0]}/{system}" if python and system else None


def _system(said: Any) -> str | None:
    name, cpu = _text(said, "system", "name"), _text(said, "cpu").lower()
    if not re.fullmatch(r"[a-z0-9_]{1,20}", cpu):
        return None
    arch = _ARCHES.get(cpu, cpu)
    if name == "Windows":
        return f"{'aarch64' if arch == 'arm64' else arch}-windows"
    if name == "Darwin":
        return _macos(_text(said, "distro", "version"), "arm64" if arch == "aarch64" else arch)
    return _linux(said, arch) if name == "Linux" else None


def _macos(version: str, arch: str) -> str | None:
    found = re.match(r"(\d{1,3})(?:\.(\d{1,3}))?", version)
    return f"{arch}-macos_{found[1]}.{found[2] or 0}" if found else None


def _linux(said: Any, arch: str) -> str | None:
    kind = _text(said, "distro", "libc", "lib")
    found = re.match(r"(\d{1,3})\.(\d{1,3})", _text(said, "distro", "libc", "version"))
    if kind == "glibc" and found:
        return f"{arch}-manylinux_{found[1]}_{found[2]}"
    if kind == "musl" and found:
        return f"{arch}-musllinux_{found[1]}_{found[2]}"
    return None if kind else f"{arch}-{_MUSL}"  # pip finds out the release of glibc alone


def _text(said: Any, *path: str) -> str:
    for key in path:
        said = said.get(key) if isinstance(said, dict) else None
    return said if isinstance(said, str) else ""
