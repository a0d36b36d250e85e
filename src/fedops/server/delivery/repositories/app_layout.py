"""The app of a commit with the code beside it that it runs, laid out in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedops.core.errors import Invalid
from fedops.scalize.flow.manifest import Manifest, read_manifest
from fedops.server.delivery.repositories.checkout import Checkout
from fedops.server.delivery.repositories.git_mirror import GitMirror


@dataclass(frozen=True)
class LaidOut:
    """An app's folder in a place of its own."""

    app_dir: Path
    #: What is good to know of it, a sentence each.
    notes: list[str] = field(default_factory=list)


def lay_out_commit(mirror: GitMirror, commit: str, subfolder: str, root: Path) -> LaidOut:
    """The app in ``subfolder`` of a commit, below ``root``, and whatever folders its manifest names.

    Raises:
        NotFound: the commit has no such folder.
        Invalid: it is no app, or something in it must not be written.
        Unavailable: the server's copy of the repository cannot be read.
    """
    made = Checkout(root)
    app_dir = made.add(mirror, commit, subfolder)
    for folder in folders_beside(require_app(app_dir, root), root):
        made.add(mirror, commit, folder)
    return LaidOut(app_dir, made.notes)


def require_app(app_dir: Path, root: Path) -> Manifest:
    """Its manifest. ``Invalid`` without the place where it happens to lie."""
    try:
        return read_manifest(app_dir)
    except Invalid as error:
        raise Invalid(without_place(error.message, root)) from None


def without_place(text: str, root: Path) -> str:
    """A message as people of the repository read it: paths begin at its top."""
    for place in dict.fromkeys((str(root), str(root.resolve()))):
        text = text.replace(place + os.sep, "").replace(place, "the repository's top folder")
    return text


def folders_beside(manifest: Manifest, root: Path) -> Iterator[str]:
    """The folders outside of the app's own that its code lies in, from the top of the repository.

    Raises:
        Invalid: one leads out of the repository.
    """
    top, own = root.resolve(), manifest.app_dir
    for folder in (*manifest.folders, *([manifest.workdir] if manifest.workdir else [])):
        if not folder.is_relative_to(top):
            raise Invalid(
                "pyproject.toml [tool.fedops]: path and workdir must not lead out of the repository"
            )
        if not folder.is_relative_to(own):
            beside = folder.relative_to(top).as_posix()
            yield "" if beside == "." else beside
