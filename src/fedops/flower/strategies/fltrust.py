"""FLTrust as a Flower strategy: what it does is in ``fedops.algorithms.fltrust``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from fedops.algorithms.fltrust import fltrust
from fedops.core.errors import Invalid
from fedops.engine.aggregation_port import TensorMap

logger = logging.getLogger("fedops.strategy")
#: Makes the server's own update of a model, in a round: trained on data that nobody else has.
RootUpdate = Callable[[int, TensorMap], TensorMap]


class FLTrust(FedAvg):
    """Trusts updates as far as they agree with the server's own.

    ``root_update`` is given by whoever makes it, not by a config file.
    """

    def __init__(
        self,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        root_update: RootUpdate | None = None,
    ) -> None:
        super().__init__(
            fraction_train=fraction_train,
            fraction_evaluate=fraction_evaluate,
            min_train_nodes=min_train_nodes,
            min_evaluate_nodes=min_evaluate_nodes,
            min_available_nodes=min_available_nodes,
        )
        self.root_update = root_update
        self._before: dict[str, Any] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg does; the model is remembered, since updates are compared with it."""
        self._before = {name: array.numpy() for name, array in arrays.items()}
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The next model. None without a reply.

        Raises:
            Invalid: there is nobody to make the server's own update.
        """
        if self.root_update is None:
            raise Invalid(
                "it needs an update of the server's own, and the app has no validation data to make it with"
            )
        contents = [reply.content for reply in replies if not reply.has_error()]
        if not contents:
            return None, None
        updates = [
            {
                name: array.numpy()
                for name, array in content.array_records[self.arrayrecord_key].items()
            }
            for content in contents
        ]
        root = self.root_update(server_round, self._before)
        moved, trust = fltrust(updates, self._before, {name: root[name] for name in self._before})
        logger.info(
            "round %d: trust in the updates: %s",
            server_round,
            ", ".join(f"{score:.2f}" for score in trust),
        )
        record = ArrayRecord({name: Array(array) for name, array in moved.items()})
        return record, self.train_metrics_aggr_fn(contents, self.weighted_by_key)
