"""What the rest of the Client Manager sees of the model that is served: of nothing, where none is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedops.api_client import BlobClient
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import Serving
from fedops.client.local.messages import ServingOrder, ServingState
from fedops.client.serving.model_serving import ModelServing
from fedops.client.serving.model_source import ModelSource
from fedops.client.serving.serving_folder import ServingFolder
from fedops.client.work.model_cache import ModelCache
from fedops.client.work.reachability import Reachability
from fedops.core.contracts import ServingReport, Work
from fedops.core.errors import Conflict


class ServingDesk:
    """Does what ``[serving]`` in ``device.toml`` asks for. ``changed``: the server should hear at once."""

    def __init__(
        self,
        config: Serving,
        home: DataDir,
        blobs: BlobClient,
        reach: Reachability,
        changed: Callable[[], None],
    ) -> None:
        self._serving: ModelServing | None = None
        if config.folder:
            folder = ServingFolder(Path(config.folder))
            models = ModelCache(home.models, 0)  # it is only looked into
            source = ModelSource(folder, home.serving, models, blobs, reach)
            state = home.serving / "state.json"
            self._serving = ModelServing(config, state, source, folder, changed)

    def start(self, tasks: list[str]) -> None:
        """Begin. ``Invalid``: it is not clear whose model is meant."""
        if self._serving:
            self._serving.start(tasks)

    def stop(self) -> None:
        if self._serving:
            self._serving.stop()

    def take(self, work: Work) -> None:
        """What the server wants, heard now."""
        if self._serving:
            self._serving.take(work)

    def reports(self) -> list[ServingReport]:
        """As the server is told."""
        return self._serving.reports() if self._serving else []

    def status(self) -> ServingState | None:
        """As the owner of the device is told."""
        return self._serving.status() if self._serving else None

    def decide(self, order: ServingOrder) -> None:
        """What the owner decides. ``Conflict``: that cannot be now."""
        if self._serving is None:
            raise Conflict("no model is served here: write a folder into [serving] of device.toml")
        self._serving.decide(order)
