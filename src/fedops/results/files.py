"""An export on a disk: a folder or a zip file with tables, configs and a manifest, whole or not there."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tomli_w

from fedops.config.loading import parse_config
from fedops.core.errors import Conflict, Invalid, NotFound, Unavailable
from fedops.results.manifest import FORMAT, Manifest
from fedops.results.tables import Table
from fedops.storage.atomic_files import write_atomic

MANIFEST = "manifest.json"
#: No manifest and no config is larger. Bytes.
_MOST = 64 << 20
#: Files of a zip have no date: the same run gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_PARQUET = {"integer": "int64", "number": "float64", "text": "string"}


def write_export(
    target: Path,
    manifest: Manifest,
    configs: Mapping[str, Mapping[str, Any]],
    tables: Sequence[Table],
) -> Path:
    """Write the folder ``target``, or the zip file if it is called so.

    Raises:
        Conflict: it is there already.
        Unavailable: pyarrow is not installed (for parquet), or the disk does not take it.
    """
    if target.exists():
        raise Conflict(f"{target} is there already; name another place with --out")
    files = {f"{table.name}.{manifest.kind}": _bytes_of(table, manifest.kind) for table in tables}
    files |= {name: tomli_w.dumps(config).encode() for name, config in configs.items()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    said = manifest.model_copy(update={"files": digests})
    files[MANIFEST] = said.model_dump_json(indent=2).encode() + b"\n"
    try:
        if target.suffix == ".zip":
            write_atomic(target, _zipped(files))
        else:
            _write_folder(target, files)
    except OSError as error:
        raise Unavailable(f"cannot write {target}: {error.strerror or error}") from None
    return target


def _write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, data in files.items():
            (unfinished / name).write_bytes(data)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def _bytes_of(table: Table, kind: Literal["csv", "parquet"]) -> bytes:
    return _csv(table) if kind == "csv" else _parquet(table)


def _csv(table: Table) -> bytes:
    """RFC 4180 with ``\\n``. What is not known is empty; numbers are written so that nothing is lost."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(table.rows)
    return buffer.getvalue().encode()


def _parquet(table: Table) -> bytes:
    require_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column.name, _PARQUET[column.kind]) for column in table.columns])
    rows = [dict(zip(schema.names, row, strict=True)) for row in table.rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()


def require_parquet() -> None:
    """``Unavailable`` when pyarrow is not there: to be asked before a server is."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise Unavailable(
            "parquet files are written by pyarrow, which is not installed: "
            "pip install 'fedops[parquet]', or export --to csv"
        ) from None


# --- reading ---------------------------------------------------------------------------------


def read_export(source: Path) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    """The manifest of an export, and its configs by the names of their files. Its tables are not read.

    Raises:
        NotFound: there is nothing.
        Invalid: it is no export, or one of its configs is not as it was written.
        Unavailable: the disk does not give it.
    """
    manifest = _parse(source, _read(source, MANIFEST))
    names = {run.config_file for run in manifest.runs}
    return manifest, {name: _config(source, name, manifest.files.get(name)) for name in names}


def _parse(source: Path, data: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(data)
    except ValueError:
        raise Invalid(
            f"{source} is no export that this FedOps reads: its {MANIFEST} is not of {FORMAT}, version 1"
        ) from None


def _config(source: Path, name: str, digest: str | None) -> dict[str, Any]:
    data = _read(source, name)
    if hashlib.sha256(data).hexdigest() != digest:
        raise Invalid(
            f"{source}: {name} is not as it was exported; to change a value, start with --set KEY=VALUE"
        )
    plain = tomllib.loads(data.decode())
    parse_config(plain, f"{source}: {name}")
    return plain


def _read(source: Path, name: str) -> bytes:
    """A file of an export, which is a folder or a zip."""
    if not source.exists():
        raise NotFound(f"there is no export {source}")
    if "/" in name or "\\" in name or name.startswith("."):
        raise Invalid(f"{source} names a file outside of it: {name}")
    try:
        if source.is_dir():
            with (source / name).open("rb") as file:
                return _bounded(file.read(_MOST + 1), source, name)
        with zipfile.ZipFile(source) as archive, archive.open(name) as member:
            return _bounded(member.read(_MOST + 1), source, name)
    except (FileNotFoundError, KeyError):
        raise Invalid(f"{source} is no export: there is no {name} in it") from None
    except zipfile.BadZipFile:
        raise Invalid(f"{source} is no export: it is no folder and no whole zip file") from None
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"cannot read {name} of {source}: {error}") from None


def _bounded(data: bytes, source: Path, name: str) -> bytes:
    if len(data) > _MOST:
        raise Invalid(f"{source}: {name} is larger than {_MOST >> 20} MiB")
    return data
