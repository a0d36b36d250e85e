"""Code outside an app's folder, as it goes into the app's bundle.

An app made by ``fedops init`` lies beside the code it runs. What is sent to the server has to hold that
code too: Python files only, so that no data comes along.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

from fedops.config import read_toml
from fedops.scalize.manifest import Manifest, read_manifest
from fedops.scalize.survey import python_files

FOLDER = "carried"


def carried_files(app_dir: Path) -> dict[str, Path | bytes]:
    """Bundle path -> content: the outside code, and a ``pyproject.toml`` that finds it there.

    Empty when all the app's code lies in its folder.
    """
    manifest = read_manifest(app_dir)
    folders = {folder: "" for folder in manifest.folders if not _inside(folder, manifest)}
    for number, folder in enumerate(folders):
        folders[folder] = f"{FOLDER}{number or ''}"
    if not folders:
        return {}
    files: dict[str, Path | bytes] = {}
    for folder, name in folders.items():
        for file in python_files(folder):
            if not file.is_relative_to(manifest.app_dir):
                files[f"{name}/{file.relative_to(folder).as_posix()}"] = file
    files["pyproject.toml"] = _pyproject(manifest, folders).encode()
    return files


def _inside(folder: Path, manifest: Manifest) -> bool:
    return folder.is_relative_to(manifest.app_dir)


def _pyproject(manifest: Manifest, folders: dict[Path, str]) -> str:
    """The app's own, with the paths that hold inside the bundle."""
    data: dict[str, Any] = read_toml(manifest.app_dir / "pyproject.toml")
    table = data["tool"]["fedops"]
    table["path"] = [
        folders.get(folder) or folder.relative_to(manifest.app_dir).as_posix()
        for folder in manifest.folders
    ]
    if "workdir" in table:
        table["workdir"] = folders.get(manifest.workdir or Path()) or "."
    return tomli_w.dumps(data)
