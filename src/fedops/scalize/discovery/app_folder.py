"""The folder of the app that ``fedops init`` writes beside a project, whatever kind of project it is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fedops.core.errors import Conflict

FOLDER = "federated"
_NAME_END = "-federated"
#: Flower's limit for the name of an app. Characters.
_NAME_LENGTH = 32


def app_name(project: Path) -> str:
    """What the app beside a project is called: as Flower accepts it, a letter first and not too long."""
    words = re.sub(r"[^a-z0-9]+", "-", project.name.lower()).strip("-") or "project"
    words = words if words[0].isalpha() else f"app-{words}"
    return f"{words[: _NAME_LENGTH - len(_NAME_END)].rstrip('-')}{_NAME_END}"


def app_package(name: str) -> str:
    """The package of an app of this name."""
    return re.sub(r"\W", "_", name).lower()


def require_free(project: Path) -> Path:
    """Where the app would be written.

    Raises:
        Conflict: there is something already.
    """
    folder = project.expanduser().resolve() / FOLDER
    if folder.exists():
        raise Conflict(
            f"{folder} exists already; remove it to begin anew, or check it with: fedops check "
            f"{folder.parent}"
        )
    return folder


@contextmanager
def new_folder(project: Path) -> Iterator[Path]:
    """The app's folder while it is being written: all of it stays, or nothing.

    Raises:
        Conflict: the folder exists already.
    """
    folder = require_free(project)
    folder.mkdir()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write text files. ``texts``: path within the folder -> text."""
    written = []
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return written
