"""App bundles, unpacked for the engines that run them: one folder for each, whole or not there."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from pathlib import Path

from fedops.core.errors import Invalid, Unavailable
from fedops.server.protocol.error_replies import as_shortage


class AppFolders:
    """Under ``root`` a folder for each bundle, named by its digest."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def unpack(self, bundle: Path, digest: str) -> Path:
        """The bundle's folder.

        Raises:
            Invalid: the file is no zip.
            Unavailable: the disk is full, or cannot be written to.
        """
        target = self._root / digest
        if target.exists():
            return target
        staging = self._root / f".{digest}.{secrets.token_hex(4)}"
        try:
            with zipfile.ZipFile(bundle) as archive:
                archive.extractall(staging)
            shutil.rmtree(staging / ".info", ignore_errors=True)  # Flower's list of the files
            staging.rename(target)
        except zipfile.BadZipFile as error:
            raise Invalid(f"the app bundle cannot be unpacked: {error}") from None
        except OSError as error:
            if target.exists():  # somebody else was faster
                return target
            lacking = as_shortage(error)
            text = lacking.message if lacking else f"{self._root}: {error.strerror or error}"
            raise Unavailable(f"the app bundle cannot be unpacked: {text}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return target

    def clear(self) -> None:
        """Remove all of them: an earlier life's may be half removed, and are made again soon."""
        shutil.rmtree(self._root, ignore_errors=True)
