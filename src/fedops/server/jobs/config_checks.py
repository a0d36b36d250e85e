"""What is wrong for every device is refused before there is a run; what was found right is remembered."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fedops import __version__
from fedops.core.errors import FedOpsError, Invalid
from fedops.server.jobs.app_folders import AppFolders
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.server.tasks.tasks import Planned
from fedops.storage.atomic_files import write_atomic
from fedops.storage.blobs import BlobStore

logger = logging.getLogger("fedops.server")

#: What of a config makes no model, strategy or explanation impossible.
_HARMLESS = (
    "batch_size",
    "clients_per_round",
    "learning_rate",
    "num_epochs",
    "num_rounds",
    "random_seed",
    "task_id",
    "wandb",
)
_REMEMBERED = 200
#: How many are examined at a time: each is a process with a framework.
_AT_ONCE = 2
#: How long it may wait for its turn, on top of its own time. Who asks waits no longer. Seconds.
_QUEUE_SECONDS = 2.0


def strategy_key(planned: Planned) -> str:
    """The same for plans whose strategies, selectors and contribution are judged alike."""
    server = planned.config.get("server", {})
    return _key(
        planned, {name: server.get(name) for name in ("strategy", "selection", "contribution")}
    )


def model_key(planned: Planned, *, explained: bool) -> str:
    """The same for plans whose models are judged alike, with explanations or without."""
    telling = {k: v for k, v in planned.config.items() if k not in (*_HARMLESS, "server")}
    return _key(planned, {**telling, "xai": {**telling.get("xai", {}), "enabled": explained}})


def _key(planned: Planned, telling: Mapping[str, Any]) -> str:
    said = json.dumps([__version__, planned.bundle, telling], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


class ConfigChecks:
    """Threads of its own: neither requests nor transactions wait for a child process."""

    def __init__(
        self, engines: EngineProcesses, artifacts: BlobStore, home: Path, seconds: float
    ) -> None:
        self._engines = engines
        self._artifacts = artifacts
        self._seconds = seconds
        self._file = home / "checked-configs.json"
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="config-check")
        self._lock = threading.Lock()
        #: Key -> whether that holds over restarts. What could not be judged, a later life may judge.
        self._sound: OrderedDict[str, bool] | None = None

    async def require_sound(self, planned: Planned) -> None:
        """``Invalid`` when it cannot be right on any device. What cannot be judged here is let through."""
        if self._seconds <= 0:
            return
        asked = asyncio.get_running_loop().run_in_executor(self._pool, self._require, planned)
        done, _ = await asyncio.wait([asked], timeout=self._seconds + _QUEUE_SECONDS)
        if done:
            asked.result()

    def close(self) -> None:
        """Begin no more. Whoever is examined is ended with the FL servers."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _require(self, planned: Planned) -> None:
        strategy = strategy_key(planned)
        explained = bool(planned.config.get("xai", {}).get("enabled"))
        model = model_key(planned, explained=explained)
        model_is_known = self._known(model)
        if model_is_known and self._known(strategy):
            return
        # The strategy alone needs no framework, whose import is most of the time.
        problem = self._examined(planned, only_strategy=model_is_known)
        if problem:
            raise Invalid(problem)
        # What is right with explanations is right without.
        models = () if model_is_known else (model, model_key(planned, explained=False))
        self._remember([strategy, *models], lasting=problem is not None)

    def _examined(self, planned: Planned, *, only_strategy: bool) -> str | None:
        try:
            with tempfile.TemporaryDirectory(prefix="fedops-app-") as place:
                bundle = self._artifacts.path(planned.bundle)
                folder = AppFolders(Path(place)).unpack(bundle, planned.bundle)
                return self._engines.examine(
                    folder, planned.config, self._seconds, only_strategy=only_strategy
                )
        except (FedOpsError, OSError) as error:  # whoever runs it will say so, if it is so still
            logger.warning("an app cannot be tried before its run: %s", error)
            return None

    def _known(self, key: str) -> bool:
        with self._lock:
            if self._sound is None:
                self._sound = OrderedDict.fromkeys(_read(self._file), True)
            return key in self._sound

    def _remember(self, keys: Iterable[str], lasting: bool) -> None:
        with self._lock:
            assert self._sound is not None
            self._sound.update(dict.fromkeys(keys, lasting))
            while len(self._sound) > _REMEMBERED:
                self._sound.popitem(last=False)
            if not lasting:
                return
            kept = [key for key, lasts in self._sound.items() if lasts]
            try:
                write_atomic(self._file, json.dumps(kept).encode(), durable=False)
            except OSError as error:
                logger.debug("%s cannot be written: %s", self._file, error)


def _read(file: Path) -> list[str]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return []
    return [key for key in found if isinstance(key, str)] if isinstance(found, list) else []
