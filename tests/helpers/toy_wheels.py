"""Small wheels of packages that exist nowhere, in a folder that stands for an index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from fedops.core.contracts import WheelRef
from fedops.environments.wheel_files import WHEEL, write_wheel


def toy_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    needs: Sequence[str] = (),
    extras: Sequence[str] = (),
    tag: str = "py3-none-any",
    code: str = "",
    scripts: str = "",
) -> Path:
    """A wheel with the module ``name``, whose ``VERSION`` is its version."""
    path = folder / f"{name}-{version}-{tag}.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {need}" for need in needs]
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"VERSION = '{version}'\n{code}".encode(),
        f"{info}/METADATA": "\n".join([*lines, ""]).encode(),
        f"{info}/WHEEL": WHEEL.replace(b"py3-none-any", tag.encode()),
    }
    if scripts:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n".encode()
    write_wheel(path, info, files)
    return path


def only_from(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """uv takes packages from this folder alone, as an operator may have it."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(folder.parent / "uv-cache"))


def wheel_ref(path: Path) -> WheelRef:
    data = path.read_bytes()
    return WheelRef(name=path.name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
