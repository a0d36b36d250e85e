"""Where the file of a version comes from: this machine, if it is here already, else the server."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fedops.api_client import BlobClient
from fedops.client.serving.serving_folder import ServingFolder
from fedops.client.work.downloads import download_rest
from fedops.client.work.model_cache import ModelCache
from fedops.client.work.reachability import Over, Reachability
from fedops.core.contracts import BlobRef, DesiredModel
from fedops.core.errors import FedOpsError, Invalid
from fedops.storage.atomic_files import sha256_of

logger = logging.getLogger("fedops.client")

_DAMAGED_TIMES = 3
_PART = ".part"


class ModelSource:
    """``on_its_way``: a folder of ours for what has not arrived whole. ``models``: what training has."""

    def __init__(
        self,
        folder: ServingFolder,
        on_its_way: Path,
        models: ModelCache,
        blobs: BlobClient,
        reach: Reachability,
    ) -> None:
        self._folder = folder
        self._on_its_way = on_its_way
        self._models = models
        self._blobs = blobs
        self._reach = reach

    def obtain(
        self,
        model: DesiredModel,
        over: Callable[[], bool],
        waiting: Callable[[FedOpsError], None],
    ) -> Path:
        """A file with the version's bytes. Goes on for as long as the server is out of reach.

        Raises:
            Over: it is ``over``.
            FedOpsError: the server does not let this device have it, or it came damaged again and again.
            OSError: it cannot be written.
        """
        blob = BlobRef(sha256=model.sha256, size=model.size)
        here = self._folder.find(model.sha256) or self._models.find(model.task, blob)
        return here or self._download(blob, over, waiting)

    def wake(self) -> None:
        """Let who waits for the server look whether it is over."""
        self._reach.wake()

    def tidy(self, keep: str | None = None) -> None:
        """Remove what is on its way, but for a file with this sha256."""
        for part in self._on_its_way.glob(f"*{_PART}"):
            if part.stem != keep:
                with contextlib.suppress(OSError):
                    part.unlink()

    def _download(
        self, blob: BlobRef, over: Callable[[], bool], waiting: Callable[[FedOpsError], None]
    ) -> Path:
        self.tidy(blob.sha256)
        self._on_its_way.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._on_its_way / f"{blob.sha256}{_PART}"
        for time in range(_DAMAGED_TIMES):
            get = partial(self._get, part, blob, over, fresh=time > 0)
            self._reach.insist(get, over, waiting)
            if sha256_of(part) == blob.sha256:
                return part
            part.unlink()
            logger.warning("the model %s arrived damaged: it is fetched again", blob.sha256[:12])
        raise Invalid(f"the model {blob.sha256[:12]} arrived damaged {_DAMAGED_TIMES} times")

    def _get(self, part: Path, blob: BlobRef, over: Callable[[], bool], *, fresh: bool) -> None:
        def on_the_way(_: int) -> None:
            if over():
                raise Over

        download_rest(self._blobs, part, blob, on_the_way, fresh=fresh)
