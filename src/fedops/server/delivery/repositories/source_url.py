"""What the URL of a source names, and which URLs are refused before anything is asked of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fedops.core.errors import Forbidden, Invalid
from fedops.core.printable import printable

#: Before the path of a folder that is taken as it is, even where it is a Git repository.
FOLDER = "folder:"
_SCHEMES = ("file", "http", "https", "ssh", "git+ssh", "ssh+git")
#: ``[user@]host:path``, as ssh has it. A name of one letter is a drive.
_SCP_LIKE = re.compile(r"^(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9._-]+:(?!//)[^\s]+$")
_HOLDS_A_SECRET = (
    "the URL of the source holds a user name or password: it would be stored and shown. Leave it out and "
    "name a file with it in FEDOPS_SERVER_GIT_CREDENTIALS, or an ssh key in FEDOPS_SERVER_GIT_SSH_KEY"
)
_HEAD_PARTS = ("HEAD", "objects", "refs")


@dataclass(frozen=True)
class SourceUrl:
    """A repository that ``git`` reads, or a folder of this machine."""

    text: str
    #: The plain folder; None: a Git repository.
    folder: Path | None = None

    @property
    def is_git(self) -> bool:
        return self.folder is None


def parse_url(text: str, private: Sequence[Path] = ()) -> SourceUrl:
    """What a source's URL names. ``private``: folders of the server's own.

    Raises:
        Invalid: it is no URL that Git can reach and no absolute path, or it holds a password.
        Forbidden: it lies in one of the ``private`` folders.
    """
    if printable(text) != text or "\n" in text or text != text.strip():
        raise Invalid(
            "the URL of the source holds spaces or control characters at its ends or inside"
        )
    if text.startswith(FOLDER):
        return SourceUrl(text, _local(text.removeprefix(FOLDER), private))
    if text.startswith("/"):
        path = _local(text, private)
        return (
            SourceUrl(text) if is_repository(path) or not path.is_dir() else SourceUrl(text, path)
        )
    if "://" in text:
        return _with_scheme(text, private)
    if _SCP_LIKE.match(text) and "::" not in text:
        if "@" in text.partition(":")[2].partition("/")[0]:  # user:password@host
            raise Invalid(_HOLDS_A_SECRET)
        return SourceUrl(text)
    raise Invalid(
        f"'{text[:200]}' is no source: give an absolute path, a URL (https://, ssh://, file://) or "
        "user@host:path"
    )


def _with_scheme(text: str, private: Sequence[Path]) -> SourceUrl:
    try:
        parts = urlsplit(text)
        held = parts.password is not None or (parts.scheme.startswith("http") and parts.username)
    except ValueError:
        raise Invalid("the URL of the source cannot be read: is its host or port right?") from None
    if held or _names_a_secret(parts.query):
        raise Invalid(_HOLDS_A_SECRET)
    if parts.scheme not in _SCHEMES:
        raise Invalid(
            f"sources with '{parts.scheme[:20]}://' are not read: give https://, ssh://, file:// or a path"
        )
    if parts.scheme == "file":
        _local(parts.path, private)
    elif not parts.hostname or parts.hostname.startswith("-"):
        raise Invalid("the URL of the source names no host")
    return SourceUrl(text)


def _names_a_secret(query: str) -> bool:
    return bool(re.search(r"(token|secret|passw|key)[^=&]*=", query, re.IGNORECASE))


def _local(text: str, private: Sequence[Path]) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise Invalid(
            f"'{text[:200]}' is no absolute path: the server may have another working directory"
        )
    real = path.resolve()
    if any(real.is_relative_to(own.resolve()) for own in private):
        raise Forbidden("the server's own folder is no source: give another path")
    return real


def is_repository(path: Path) -> bool:
    """Whether Git would read this folder as a repository of its own, bare or with files."""
    return (path / ".git").exists() or all((path / name).exists() for name in _HEAD_PARTS)
