"""The code of a commit: fetched from the server, verified if the owner wants that, unpacked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedops.client.deployment.commits.downloads import Downloads, Tell
from fedops.client.deployment.commits.places import Places
from fedops.client.deployment.commits.signatures import check_signature, require_pack
from fedops.client.deployment.commits.unpacking import is_unpacked, unpack_commit
from fedops.client.device.device_config import Deploy
from fedops.client.work.model_cache import ModelCache
from fedops.core.contracts import DesiredDeployment
from fedops.core.errors import Forbidden, NotFound


@dataclass(frozen=True)
class Fetching:
    """Of one task."""

    places: Places
    downloads: Downloads
    models: ModelCache
    owner: Deploy

    @property
    def _signers(self) -> Path | None:
        given = self.owner.allowed_signers
        return Path(given).expanduser() if given else None

    def is_done(self, wish: DesiredDeployment) -> bool:
        return is_unpacked(self.places, wish, self._signers is not None)

    def fetch(self, wish: DesiredDeployment, over: Callable[[], bool], tell: Tell) -> None:
        """Have the app's folder.

        Raises:
            Over: it is not wanted any more.
            Invalid: it is no app bundle, or not one that the owner lets run.
            NoRoom: the disk is full.
        """
        place = self.places.make_commit(wish.commit)
        if self._signers is not None:
            require_pack(wish)
        self.downloads.fetch(wish.bundle, place.bundle, over, tell)
        if self._signers is not None and wish.pack is not None:
            self.downloads.fetch(wish.pack, place.pack, over, tell)
            tell("its signature is verified")
            with self.places.temporary() as folder:
                check_signature(wish, place.bundle, place.pack, self._signers, Path(folder))
            place.pack.unlink(missing_ok=True)
        unpack_commit(self.places, wish, self._signers is not None)

    def model(self, wish: DesiredDeployment, over: Callable[[], bool], tell: Tell) -> Path | None:
        """The newest model, to try the code with. None: there is none, or it is gone."""
        if wish.model is None:
            return None
        if (found := self.models.find(wish.task, wish.model)) is not None:
            return found
        target = self.places.coming / f"{wish.model.sha256}.safetensors"
        with contextlib.suppress(NotFound, Forbidden):
            self.downloads.fetch(wish.model, target, over, tell)
            return target
        return None
