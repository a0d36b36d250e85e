"""The installed release of FedOps, kept aside so that it can come back without any index."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from fedops.core.errors import Conflict

_PACKAGE = "fedops"
_PLACES = "places.json"


class KeptRelease:
    """A copy of every file that the installation consists of, in ``folder``."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder, self.version = folder, version

    @classmethod
    def keep(cls, folder: Path) -> KeptRelease:
        """Copy the installation.

        Raises:
            Conflict: it is no installation that can be replaced: a checkout that somebody works in.
            OSError: there is no room for it.
        """
        found = installed()
        places = _files_of(found)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, place in enumerate(places):
            shutil.copy2(place, folder / f"{number}")
        (folder / _PLACES).write_text(json.dumps([str(place) for place in places]))
        return cls(folder, found.version)

    def bring_back(self) -> None:
        """Put every file where it was, in place of what is there now: whole, or half installed."""
        try:
            current = _files_of(installed())
        except (Conflict, OSError):  # half an installation: what it has is overwritten or not found
            current = []
        places = [Path(place) for place in json.loads((self.folder / _PLACES).read_text())]
        for place in {*current, *_remains(places)} - set(places):
            _remove(place)
        for number, place in enumerate(places):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.folder / f"{number}", place)

    def forget(self) -> None:
        """It is not needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)


def installed() -> Distribution:
    """The installation that this program runs from.

    Raises:
        Conflict: it cannot be replaced.
    """
    try:
        found = distribution(_PACKAGE)
    except PackageNotFoundError:
        raise Conflict(
            "FedOps is not installed here as a package, so it cannot be replaced"
        ) from None
    direct = json.loads(found.read_text("direct_url.json") or "{}")
    if direct.get("dir_info", {}).get("editable"):
        raise Conflict(
            f"FedOps runs from the folder {direct.get('url', '')}, where somebody works on it: update that"
            " folder instead"
        )
    return found


def _remains(places: list[Path]) -> Iterator[Path]:
    """What an installer that was killed has left beside the metadata among ``places``: modules, and folders.

    It has no list of them then; what it was about to remove lies in folders whose names begin with a tilde.
    """
    kept = {place.parent for place in places if place.parent.suffix == ".dist-info"}
    for site in {info.parent for info in kept}:
        yield from (site / _PACKAGE).rglob("*.py")
        for pattern in (f"{_PACKAGE}-*.dist-info", f"~*{_PACKAGE[2:]}*"):
            yield from set(site.glob(pattern)) - kept


def _remove(place: Path) -> None:
    """And its folder with it, if that is empty then: one of metadata would be taken for an installation."""
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
        return
    place.unlink(missing_ok=True)
    with suppress(OSError):
        shutil.rmtree(place.parent / "__pycache__", ignore_errors=True)
        place.parent.rmdir()


def _files_of(found: Distribution) -> list[Path]:
    """All its files, compiled ones left out."""
    listed = [Path(str(found.locate_file(file))).resolve() for file in found.files or []]
    files = [file for file in listed if file.is_file() and file.suffix != ".pyc"]
    if not files:
        raise Conflict("FedOps was installed without a list of its files, so it cannot be replaced")
    return files
