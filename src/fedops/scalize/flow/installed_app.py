"""Where an app lies that Flower has unpacked without the code beside it.

Flower takes along only what is in an app's folder. ``pip install -e`` has noted where that folder is, on
the machine that the code is on.
"""

from __future__ import annotations

import json
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fedops.core.errors import Invalid
from fedops.scalize.flow.manifest import Manifest, find_package, read_manifest


def app_folder(app_dir: Path) -> Path:
    """The folder with the app and all its code: ``app_dir``, or the one it was installed from.

    Raises:
        Invalid: the code is in neither of them.
    """
    manifest = read_manifest(app_dir)
    if _complete(manifest):
        return app_dir
    folder = installed_from(manifest.app_name)
    if folder is not None and (folder / "pyproject.toml").is_file():
        return folder
    raise Invalid(
        f"the app '{manifest.app_name}' runs code beside its folder, which Flower does not take along: "
        "run 'pip install -e .' once in the app's folder, in the environment that 'flwr' runs in"
    )


def installed_from(name: str) -> Path | None:
    """The folder of an editable installation, if there is one of that name.

    The app's own folder may be on the import path too, with what building left there
    (``NAME.egg-info``), which is an installation without such a note.
    """
    for found in distributions(name=name):
        noted = json.loads(found.read_text("direct_url.json") or "{}")
        if noted.get("dir_info", {}).get("editable"):
            return Path(url2pathname(urlsplit(noted["url"]).path))
    return None


def _complete(manifest: Manifest) -> bool:
    return all(find_package(package, manifest.folders) for package in manifest.packages)
