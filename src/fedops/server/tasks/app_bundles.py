"""App bundles: a zip with a FedOps project in it. Looked into here, never unpacked or executed."""

from __future__ import annotations

import functools
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from fedops.config import bounded_toml
from fedops.config.loading import parse_config
from fedops.config.schema import Config
from fedops.core.contracts import BlobRef
from fedops.core.errors import Invalid
from fedops.server.database import blob_rows
from fedops.server.database.tables import BundleRow
from fedops.storage import blobs
from fedops.storage.app_archives import UNREADABLE, check_entries, is_inside

#: No config or pyproject is larger than this.
MAX_TEXT = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of itself."""

    package: str
    version: str
    config: Config


def read_bundle(file: Path, name: str = "the app bundle") -> Bundle:
    """Look into a bundle. ``Invalid`` says what makes it none."""
    try:
        with zipfile.ZipFile(file) as archive:
            check_entries(archive)
            return _describe(archive)
    except UNREADABLE as error:
        raise Invalid(f"{name} is no readable zip file: {error}") from None


def _describe(archive: zipfile.ZipFile) -> Bundle:
    project = _toml(archive, "pyproject.toml")
    tool = _table(_table(project, "tool", "pyproject.toml"), "fedops", "pyproject.toml [tool]")
    where = "pyproject.toml [tool.fedops]"
    several = tool.get("package")  # the app's own package first, then the modules that it runs
    tool = {**tool, "package": several[0]} if isinstance(several, list) and several else tool
    package, config = _text(tool, "package", where), _text(tool, "config", where)
    if not is_inside(config):
        raise Invalid(f"{where}: config = '{config}' leads out of the app")
    folder = package.replace(".", "/")
    if not any(
        name.startswith(f"{folder}/") or name == f"{folder}.py" for name in archive.namelist()
    ):
        raise Invalid(f"{where}: package = '{package}', but the app bundle has no folder {folder}/")
    parsed = parse_config(_toml(archive, config), config)
    meta = project.get("project")
    version = meta.get("version", "") if isinstance(meta, dict) else ""
    return Bundle(package, str(version), parsed)


def _toml(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    try:
        if archive.getinfo(name).file_size > MAX_TEXT:
            raise Invalid(f"the app bundle's {name} is larger than {MAX_TEXT >> 20} MiB")
        return bounded_toml.loads(archive.read(name).decode("utf-8"))
    except KeyError:
        raise Invalid(f"the app bundle has no {name}; was it made from an app's folder?") from None
    except UnicodeDecodeError:
        raise Invalid(f"the app bundle's {name} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"the app bundle's {name} is no valid TOML: {error}") from None


def _table(data: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise Invalid(f"{where} has no table [{key}]: the app says there which package it is")
    return value


def _text(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise Invalid(f"{where}: '{key}' is missing, e.g. {key} = \"myapp\"")
    return value


# --- use cases -------------------------------------------------------------------------------


def register(
    session: Session, ref: BlobRef, bundle: Bundle, now: float, commit: str | None = None
) -> None:
    """Know an uploaded bundle. Repeating is harmless.

    The first ``commit`` that is named for the same content stays.
    """
    known = session.get(BundleRow, ref.sha256)
    if known is not None:
        known.commit = known.commit or commit
        return
    blob_rows.record_blob(session, ref, now)
    session.add(
        BundleRow(
            sha256=ref.sha256,
            package=bundle.package,
            version=bundle.version,
            commit=commit,
            created_at=now,
        )
    )


def discard(session: Session, ref: BlobRef, store: blobs.BlobStore) -> None:
    """Remove what was uploaded and is no bundle, unless it is something else that is known."""
    if not blob_rows.is_known_blob(session, ref.sha256):
        store.remove(ref.sha256)


def require_bundle(session: Session, sha256: str) -> None:
    """``Invalid`` when there is no such bundle."""
    if session.get(BundleRow, sha256) is None:
        raise Invalid(f"there is no app bundle {sha256} on this server: upload it first")


def config_from(store: blobs.BlobStore) -> Callable[[str], Config]:
    """How the config of a stored bundle is read: once, a plan before a transaction that writes."""
    return functools.cache(lambda sha256: read_bundle(store.path(sha256)).config)
