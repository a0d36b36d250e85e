"""``[tool.fedops]`` of an app's ``pyproject.toml``, and how the app's package becomes importable."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fedops.config.loading import load_config, parse_config, parse_section, read_toml
from fedops.config.schema import Config
from fedops.config.sections import Section
from fedops.core.errors import Invalid
from fedops.scalize.flow.plain_flower import is_plain_flower, packages_of, run_config_of


class Flow(Section):
    """``[tool.fedops.flow]``: dotted names of the app's steps."""

    data: str = ""
    model: str = ""
    train: str = ""
    evaluate: str = ""
    validation: str = ""


class Table(Section):
    """``[tool.fedops]``."""

    #: The app's package, or several modules where it is no package.
    package: str | list[str] = Field(min_length=1)
    #: Default: ``<package>/conf/config.toml``.
    config: str = ""
    #: Folders, seen from the app's, in which its code lies.
    path: list[str] = Field(default=[".", "src"], min_length=1)
    #: Folder, seen from the app's, that the code's relative paths start from. Default: left as it is.
    workdir: str = ""
    #: Who plays the rounds of a run: FedOps, or the app's own ServerApp.
    serverapp: Literal["fedops", "own"] = "fedops"
    #: Files below it, as shell globs, that the server's copy of the app needs beside the Python code.
    carry: list[str] = Field(default=[])
    #: Names of the app's own that a run's config may choose, beside those that these files use.
    choices: list[str] = Field(default=[])
    flow: Flow = Flow()


@dataclass(frozen=True)
class Manifest:
    app_dir: Path
    app_name: str
    packages: tuple[str, ...]
    config_file: Path
    folders: tuple[Path, ...]
    flow: Flow
    workdir: Path | None = None
    carry: tuple[str, ...] = ()
    own_server_app: bool = False
    choices: tuple[str, ...] = ()
    #: What an app of plain Flower, which has no ``config_file`` of FedOps', is configured by.
    plain_config: Mapping[str, Any] | None = None

    def read_config(self) -> Config:
        """The app's own config. ``Invalid`` names all mistakes in it."""
        if self.plain_config is None:
            return load_config(self.config_file)
        return parse_config(self.plain_config, f"{self.config_file} [tool.flwr.app.config]")


def read_manifest(app_dir: Path) -> Manifest:
    """Read an app folder's ``pyproject.toml``. An app of plain Flower needs no ``[tool.fedops]``.

    Raises:
        Invalid: there is no such folder or file, or its ``[tool.fedops]`` is missing or wrong.
    """
    folder = app_dir.expanduser().resolve()
    file = folder / "pyproject.toml"
    if not folder.is_dir():
        raise Invalid(f"there is no app folder {folder}")
    if not file.is_file():
        inside = (folder / "federated" / "pyproject.toml").is_file()
        meant = f"; did you mean {folder / 'federated'}?" if inside else ""
        raise Invalid(
            f"{folder} is no app folder: it has no pyproject.toml with a [tool.fedops] table{meant}"
        )
    pyproject = read_toml(file)
    tool = _table(pyproject, "tool")
    name = str(_table(pyproject, "project").get("name", folder.name))
    if is_plain_flower(pyproject):
        return _plain(folder, pyproject, name)
    if "fedops" not in tool:
        raise Invalid(
            f'{file} has no [tool.fedops] table; it needs one with package = "<the package>", or the '
            "[tool.flwr.app.components] of an app of Flower"
        )
    table = parse_section(Table, _table(tool, "fedops"), f"{file} [tool.fedops]")
    return _manifest(folder, table, name)


def _plain(folder: Path, pyproject: Mapping[str, Any], name: str) -> Manifest:
    file = folder / "pyproject.toml"
    return Manifest(
        folder,
        name,
        packages_of(pyproject, str(file)),
        file,
        (folder,),
        Flow(),
        own_server_app=True,
        plain_config={"run_config": run_config_of(pyproject)},
    )


def _table(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key, {})
    return value if isinstance(value, dict) else {}


def _manifest(folder: Path, table: Table, app_name: str) -> Manifest:
    packages = (table.package,) if isinstance(table.package, str) else tuple(table.package)
    config = folder / (table.config or f"{packages[0].replace('.', '/')}/conf/config.toml")
    if not config.is_file():
        raise Invalid(f"there is no config file {config}; name it as config in [tool.fedops]")
    folders = tuple(dict.fromkeys((folder / part).resolve() for part in table.path))
    workdir = (folder / table.workdir).resolve() if table.workdir else None
    return Manifest(
        folder,
        app_name,
        packages,
        config,
        folders,
        table.flow,
        workdir,
        tuple(table.carry),
        table.serverapp == "own",
        tuple(table.choices),
    )


def make_importable(manifest: Manifest) -> None:
    """Put the app's folders on the import path, before whatever is installed.

    A package of this name that was imported from elsewhere before is forgotten, so that the next
    import finds this app's. Where the manifest names a ``workdir``, the process goes there.
    """
    if manifest.workdir and manifest.workdir.is_dir():
        os.chdir(manifest.workdir)
    for folder in reversed(manifest.folders):
        if folder.is_dir() and str(folder) not in sys.path[:1]:
            sys.path[:] = [str(folder), *(part for part in sys.path if part != str(folder))]
    for package in manifest.packages:
        here = find_package(package, manifest.folders)
        loaded = sys.modules.get(package)
        if here and loaded and not _lies_in(loaded, here):
            _forget(package)
    importlib.invalidate_caches()


def find_package(package: str, folders: Sequence[Path]) -> Path | None:
    """The first of the folders in which a package or module is."""
    relative = Path(*package.split("."))
    for folder in folders:
        if (folder / relative).is_dir() or (folder / relative).with_suffix(".py").is_file():
            return folder
    return None


def _lies_in(module: Any, folder: Path) -> bool:
    origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), "")
    return Path(origin).resolve().is_relative_to(folder)


def _forget(package: str) -> None:
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]
