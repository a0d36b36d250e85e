"""Names of files from elsewhere, judged before any of them is written."""

from __future__ import annotations

import posixpath
import unicodedata
from pathlib import PurePosixPath

from fedops.core.errors import Invalid
from fedops.core.printable import printable

_LONGEST = 1_000
#: Of a file or folder, on every machine. Bytes.
_LONGEST_NAME = 255


class TreePaths:
    """The paths of one checkout: each inside it, and none the same as another on any machine."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, path: str) -> None:
        """Take in the path of a file or link. ``Invalid``: it must not be written."""
        require_inside(path)
        self._put(self._files, path, path)
        above = PurePosixPath(path).parents
        for folder in (str(each) for each in above if str(each) != "."):
            if self._folders.setdefault(_folded(folder), folder) != folder:
                raise _collision(folder, self._folders[_folded(folder)])
            if _folded(folder) in self._files:
                raise _collision(folder, self._files[_folded(folder)])
        if _folded(path) in self._folders:
            raise _collision(path, self._folders[_folded(path)])

    def _put(self, known: dict[str, str], key: str, path: str) -> None:
        if _folded(key) in known:
            raise _collision(path, known[_folded(key)])
        known[_folded(key)] = path


def require_inside(path: str) -> None:
    """``Invalid`` unless a file may be written there, below a folder of ours."""
    parts = path.split("/")
    bad = any(part in ("", ".", "..") or _size(part) > _LONGEST_NAME for part in parts)
    if bad or "\\" in path or "\0" in path or len(path) > _LONGEST or ":" in parts[0]:
        raise Invalid(
            f"it holds the path '{named(path)}', which leads out of it or is none everywhere"
        )
    if any(_folded(part) in (".git", "git~1") for part in parts):
        raise Invalid(f"it holds '{named(path)}': a repository within the repository is refused")


def _size(name: str) -> int:
    """In bytes, as disks count it. What is no UTF-8 has one surrogate a byte."""
    return len(name.encode("utf-8", "replace"))


def require_link_inside(path: str, target: str) -> None:
    """``Invalid`` when the link at ``path`` leads out. Links to links are judged once all are there."""
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    outside = end.startswith(("../", "/")) or end == ".."
    if not target or target.startswith("/") or "\\" in target or "\0" in target or outside:
        raise Invalid(
            f"'{named(path)}' is a symbolic link to '{named(target)}', which leads out of the repository: "
            "put the file itself there"
        )


def named(path: str) -> str:
    """A path as a message shows it."""
    return printable(path)[:200]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _collision(one: str, other: str) -> Invalid:
    return Invalid(
        f"it holds '{named(one)}' and '{named(other)}', which are one file on machines that do not tell "
        "upper case from lower: rename one"
    )
