"""What passes between us and a training client that is another user's: copies, so that nobody reaches in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fedops.client.device.training_home import TrainingHome
from fedops.client.local.messages import Finished, WorkOrder
from fedops.platforms.confinement import hand_to
from fedops.platforms.files import open_others
from fedops.storage.atomic_files import sha256_of


class HandOver:
    """Nothing is done for a training client that is this user's own."""

    def __init__(self, training: TrainingHome) -> None:
        self._user = training.user
        self._root = training.place.work

    def lend(self, order: WorkOrder) -> WorkOrder:
        """The order as the training client gets it: with files that it can read, a place for its result."""
        if self._user is None:
            return order
        folder = self._folder(order)
        shutil.rmtree(folder, ignore_errors=True)
        self._root.mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o711)
        given, own = folder / "given", folder / "result"
        given.mkdir(parents=True)
        files = {}
        for sha256, path in order.files.items():
            files[sha256] = given / f"{sha256}.safetensors"
            shutil.copyfile(path, files[sha256])
            files[sha256].chmod(0o644)
        own.mkdir()
        for shown in (folder, given):
            shown.chmod(0o711)
        hand_to(self._user, own)
        return order.model_copy(update={"files": files, "out": own / order.out.name})

    def take(self, order: WorkOrder, finished: Finished) -> Finished:
        """Its result becomes ours, where ``order`` wants it."""
        if self._user is None:
            return finished
        if finished.outcome == "done":
            finished = self._take_result(order, finished)
        shutil.rmtree(self._folder(order), ignore_errors=True)
        return finished

    def _take_result(self, order: WorkOrder, finished: Finished) -> Finished:
        there = self._folder(order) / "result" / order.out.name
        order.out.parent.mkdir(parents=True, exist_ok=True)
        part = order.out.with_suffix(".part")
        try:
            with open_others(there) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            text = f"the result of the training client is not there: {error.strerror or error}"
            return Finished(id=finished.id, outcome="failed", reason=text)
        os.replace(part, order.out)
        return finished.model_copy(
            update={"sha256": sha256_of(order.out), "size": order.out.stat().st_size}
        )

    def _folder(self, order: WorkOrder) -> Path:
        return self._root / order.instruction.id
