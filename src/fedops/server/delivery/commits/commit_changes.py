"""What a commit changes: by the bundles that travel, so that nothing is shown that devices do not get."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from fedops.core.contracts import CommitChanges
from fedops.core.contracts.delivery import MAX_CHANGES
from fedops.core.printable import printable

_LONGEST = 300
#: Flower's own list of the files, which changes with each of them.
_OWN = ".info/"


def changes_between(
    since: str | None,
    before: Path | None,
    after: Path,
    required_before: Sequence[str],
    required: Sequence[str],
) -> CommitChanges:
    """The files and requirements that differ. ``before`` None: there was no bundle, so all is new."""
    old, new = _files(before) if before else {}, _files(after)
    files = [f"D {path}" for path in old if path not in new]
    files += [f"{'M' if path in old else 'A'} {path}" for path in new if old.get(path) != new[path]]
    files.sort(key=lambda line: line[2:])
    gone, come = set(required_before) - set(required), set(required) - set(required_before)
    lines = sorted([f"- {text}" for text in gone] + [f"+ {text}" for text in come], key=_by_name)
    more = max(len(files) - MAX_CHANGES, 0) + max(len(lines) - MAX_CHANGES, 0)
    return CommitChanges(
        since=since,
        files=[printable(line)[:_LONGEST] for line in files[:MAX_CHANGES]],
        dependencies=[printable(line)[:_LONGEST] for line in lines[:MAX_CHANGES]],
        more=more,
    )


def _files(bundle: Path) -> dict[str, tuple[int, int]]:
    """Path -> size and checksum. The bundle was looked into before."""
    with zipfile.ZipFile(bundle) as archive:
        return {
            entry.filename: (entry.file_size, entry.CRC)
            for entry in archive.infolist()
            if not entry.filename.startswith(_OWN)
        }


def _by_name(line: str) -> tuple[str, str]:
    """A package's old and new requirement stand together, the old one first."""
    return line[2:].lower(), line[:1]
