"""The home folders of a server and of devices as they were before devices had a protocol of their own."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from fedops.client.device.data_dir import DataDir, Identity, load_identity
from fedops.server.database import upgrade

KEPT = Path(__file__).parents[1] / "fixtures" / "before-engine"
REVISION = "0004"
#: A moment after they were made. POSIX seconds.
AFTERWARDS = 1_795_875_900.0


def unpack(folder: Path) -> None:
    """The folders ``server``, ``ada``, ``bob`` and ``eve``."""
    with tarfile.open(KEPT / "homes.tar.gz") as archive:
        archive.extractall(folder, filter="data")


def unpack_backup(file: Path) -> Path:
    """The backup of that server, as it was written."""
    with gzip.open(KEPT / "backup.tar.gz") as packed, file.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return file


def move_to(home: Path, url: str) -> Identity:
    """Let a device's home belong to a server at this address."""
    identity = load_identity(DataDir(home))
    text = json.loads(DataDir(home).identity.read_text()) | {"server": url}
    DataDir(home).identity.write_text(json.dumps(text))
    return identity


def copy_database(file: Path, url: str) -> None:
    """Bring a SQLite database of that revision into an empty one of another kind."""
    source, target = sa.create_engine(f"sqlite:///{file}"), sa.create_engine(url)
    with target.begin() as connection:
        command.upgrade(upgrade.config(connection), REVISION)
    kept = sa.MetaData()
    kept.reflect(source)
    with source.connect() as reading, target.begin() as writing:
        writing.execute(sa.text("SET session_replication_role = replica"))  # rows in any order
        for table in kept.sorted_tables:
            rows = [dict(row) for row in reading.execute(sa.select(table)).mappings()]
            if rows and table.name != "alembic_version":
                made = sa.Table(table.name, sa.MetaData(), autoload_with=target)
                writing.execute(sa.insert(made), rows)
                _count_on(writing, made)
    source.dispose()
    target.dispose()


def _count_on(connection: sa.Connection, table: sa.Table) -> None:
    """The next id is the one after the largest."""
    key = list(table.primary_key.columns)
    if len(key) == 1 and key[0].name == "id" and isinstance(key[0].type, sa.Integer):
        sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
        connection.execute(
            sa.text(f"SELECT setval({sequence}, (SELECT max(id) FROM {table.name}))")
        )
