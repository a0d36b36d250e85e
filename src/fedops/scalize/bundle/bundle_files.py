"""Code outside an app's folder, as it goes into the app's bundle.

An app made by ``fedops init`` lies beside the code it runs. What is sent to the server has to hold that
code too: Python files, and what ``carry`` in the manifest names, so that no data comes along.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tomli_w

from fedops.config.loading import read_toml
from fedops.core.errors import Invalid
from fedops.core.redaction import redact
from fedops.core.validation_messages import REDACTED
from fedops.scalize.discovery.source.source_files import python_files
from fedops.scalize.flow.manifest import Manifest, read_manifest
from fedops.scalize.observing.notebooks import SUFFIX, without_outputs

FOLDER = "carried"
#: The key to Weights & Biases in a YAML file, as configs of FedOps 1 hold it.
_WANDB_KEY = re.compile(
    r"^(?P<before>wandb[ \t]*:[^\n]*\n(?:[ \t]+[^\n]*\n|\n)*?[ \t]+key[ \t]*:[ \t]*)[^\s#][^\n#]*",
    re.MULTILINE,
)


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
    start = _workdir(manifest, folders)
    for file in _named(manifest):
        place = file.relative_to(manifest.workdir or Path()).as_posix()
        files[f"{start}/{place}"] = _as_it_may_leave(file)
    files["pyproject.toml"] = _pyproject(manifest, folders, start).encode()
    return files


def _named(manifest: Manifest) -> list[Path]:
    """The files that ``carry`` names.

    Raises:
        Invalid: there is none for one of its patterns.
    """
    found: list[Path] = []
    for pattern in manifest.carry:
        home = manifest.workdir
        files = [f for f in sorted(home.glob(pattern)) if f.is_file()] if home else []
        if not files or ".." in Path(pattern).parts:
            raise Invalid(
                f"{manifest.app_dir / 'pyproject.toml'} [tool.fedops] carry: there is no file "
                f"'{pattern}' in {home or 'its workdir, which is not set'}"
            )
        found += files
    return found


def _as_it_may_leave(file: Path) -> Path | bytes:
    """The file, or its text without passwords, tokens and keys, and without a notebook's outputs."""
    if file.suffix == SUFFIX:
        return redact(without_outputs(file).decode()).encode()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return file  # it is no text; who cannot read it is told when it is packed
    clean = _WANDB_KEY.sub(rf'\g<before>"{REDACTED}"', redact(text))
    return file if clean == text else clean.encode()


def _workdir(manifest: Manifest, folders: dict[Path, str]) -> str:
    """Where the code's relative paths start in the bundle."""
    outside = f"{FOLDER}_files" if manifest.carry else "."
    return folders.get(manifest.workdir or Path()) or outside


def _inside(folder: Path, manifest: Manifest) -> bool:
    return folder.is_relative_to(manifest.app_dir)


def _pyproject(manifest: Manifest, folders: dict[Path, str], workdir: str) -> str:
    """The app's own, with the paths that hold inside the bundle."""
    data: dict[str, Any] = read_toml(manifest.app_dir / "pyproject.toml")
    table = data["tool"]["fedops"]
    table["path"] = [
        folders.get(folder) or folder.relative_to(manifest.app_dir).as_posix()
        for folder in manifest.folders
    ]
    if "workdir" in table:
        table["workdir"] = workdir
    return tomli_w.dumps(data)
