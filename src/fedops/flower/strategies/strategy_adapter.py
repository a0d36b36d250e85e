"""A Flower strategy as the round engine uses it: to configure rounds for clients chosen before, to aggregate.

How many clients take part is read from the strategy once and then decided here, not in the strategy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    ConfigRecordValues,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy

from fedops.core.contracts.training import EXAMPLES, TRAIN
from fedops.core.errors import FedOpsError, Invalid
from fedops.engine.aggregation_port import ClientUpdate, SamplingNumbers, TensorMap
from fedops.flower.codec.compat import NodeInfo, Run, make_message, node_info
from fedops.flower.strategies.fltrust import FLTrust, RootUpdate
from fedops.flower.strategies.robust_limits import least_replies, missing_defence, too_few
from fedops.flower.strategies.strategy_traits import (
    Kind,
    export_state,
    import_state,
    kind_of,
    layers_of,
)
from fedops.storage.tensors import Tensors

logger = logging.getLogger("fedops.strategy")

#: How often a strategy may ask for the nodes of one round: more means that it waits for others to come.
_LOOKS = 10
#: How long a message that is never sent counts. Seconds.
_TTL = 3_600.0


class RunStrategy:
    """The strategy of one run."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self.name = type(strategy).__name__
        self.kind: Kind = kind_of(strategy)
        self.numbers = _read_numbers(strategy)
        _take_everyone(strategy)

    def is_plain_mean(self) -> bool:
        """Whether the weighted mean of the updates is the next model, with nothing done to it."""
        own_rule = type(self._strategy).aggregate_train is not FedAvg.aggregate_train
        return self.takes_mean() and not own_rule

    def takes_mean(self) -> bool:
        """Whether it aggregates one update that carries the weighted mean, instead of every client's."""
        return self.kind.given == "mean"

    @property
    def weighs(self) -> bool:
        """Whether an update of fewer examples counts less."""
        return all(kind_of(layer).weighs for layer in layers_of(self._strategy))

    @property
    def least_replies(self) -> int:
        """With fewer it gives no model."""
        return max(map(least_replies, layers_of(self._strategy)))

    @property
    def needs_root_update(self) -> bool:
        """Whether it compares the updates with one that the server makes itself."""
        return any(isinstance(layer, FLTrust) for layer in layers_of(self._strategy))

    def use_root_update(self, root_update: RootUpdate) -> None:
        """Who makes the server's own update, for a strategy that needs one."""
        for layer in layers_of(self._strategy):
            if isinstance(layer, FLTrust):
                layer.root_update = root_update

    def export_state(self) -> Tensors:
        """What it must remember beside the model: momenta and the like. Empty for most."""
        return export_state(self._strategy)

    def import_state(self, state: Tensors) -> None:
        """Go on from an exported state."""
        import_state(self._strategy, state)

    def configure(
        self, round_: int, model: Callable[[], TensorMap], node_ids: Sequence[int]
    ) -> dict[int, dict[str, ConfigRecordValues]]:
        """What the strategy tells each of the nodes it wants. It is shown the model when it looks at it."""
        for layer in layers_of(self._strategy):
            for name in kind_of(layer).renewed:
                setattr(layer, name, None)
        arrays = as_record(model()) if self.kind.sees_model else ArrayRecord()
        view = _ChosenNodes(node_ids)
        with self._blamed(round_):
            messages = list(self._strategy.configure_train(round_, arrays, ConfigRecord(), view))
        return {m.metadata.dst_node_id: _config_of(m) for m in messages}

    def aggregate(self, round_: int, before: TensorMap, updates: Sequence[ClientUpdate]) -> Tensors:
        """The next model by the strategy's own rule, in whatever dtype it comes.

        ``updates`` is a single one carrying the mean where ``kind.given`` is "mean".

        Raises:
            Invalid: the strategy failed or gave nothing.
        """
        if self.kind.entropy:  # Noise must not follow from a seed that clients know.
            np.random.seed()
        if len(updates) < self.least_replies:
            raise Invalid(too_few(self.name, self.least_replies, len(updates)))
        if missing := missing_defence(self._strategy, len(updates)):
            logger.warning("round %d: %s", round_, missing)
        replies = _as_replies(updates, before if self.kind.differences else None)
        with self._blamed(round_):
            record, _ = self._strategy.aggregate_train(round_, replies)
        if record is None:
            raise Invalid(f"the strategy {self.name} gave no model from {len(replies)} replies")
        result = {name: array.numpy() for name, array in record.items()}
        return _restored(result, before) if self.kind.differences else result

    def _blamed(self, round_: int) -> _Blame:
        return _Blame(f"the strategy {self.name} failed in round {round_}")


@dataclass
class _Blame:
    """Turns whatever a strategy raises into one sentence, and keeps the traceback in the log."""

    what: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FedOpsError):
            raise Invalid(f"{self.what}: {error}") from None
        if isinstance(error, Exception):
            logger.error("%s", self.what, exc_info=error)
            raise Invalid(f"{self.what}: {type(error).__name__}: {error}") from None


def _read_numbers(strategy: Strategy) -> SamplingNumbers:
    default = SamplingNumbers(1.0, 1, 1, 1.0, 1)

    def read(name: str, otherwise: float) -> Any:
        return next((getattr(s, name) for s in layers_of(strategy) if hasattr(s, name)), otherwise)

    return SamplingNumbers(
        float(read("fraction_train", default.fraction_train)),
        int(read("min_train_nodes", default.min_train)),
        int(read("min_available_nodes", default.min_available)),
        float(read("fraction_evaluate", default.fraction_evaluate)),
        int(read("min_evaluate_nodes", default.min_evaluate)),
    )


def _take_everyone(strategy: Strategy) -> None:
    """Clients are chosen before the strategy is asked: it is to take all it is shown, and wait for none."""
    everyone = {"fraction_train": 1.0, "min_train_nodes": 0, "min_available_nodes": 0}
    for layer in layers_of(strategy):
        for name, value in everyone.items():
            if hasattr(layer, name):
                setattr(layer, name, value)


def _config_of(message: Message) -> dict[str, ConfigRecordValues]:
    merged: dict[str, ConfigRecordValues] = {}
    for record in message.content.config_records.values():
        merged.update(record)
    return merged


# --- between our tensors and Flower's records ------------------------------------------------


def as_record(tensors: TensorMap) -> ArrayRecord:
    """As strategies compute with them: half precision and below as float32."""
    return ArrayRecord({name: Array(_computable(array)) for name, array in tensors.items()})


def _computable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    small = array.dtype.kind not in "iubc" and array.dtype.itemsize < 4
    return array.astype(np.float32) if small else np.asarray(array)


def _as_replies(updates: Sequence[ClientUpdate], before: TensorMap | None) -> list[Message]:
    shared = set.intersection(*(set(c.metrics) for c in updates)) if updates else set()
    return [_as_reply(c, sorted(shared), before) for c in updates]


def _as_reply(update: ClientUpdate, metrics: Iterable[str], before: TensorMap | None) -> Message:
    tensors = update.tensors
    if before is not None:
        tensors = {name: _wide(array) - _wide(before[name]) for name, array in tensors.items()}
    kept = {name: update.metrics[name] for name in metrics}
    content = RecordDict(
        {
            "arrays": as_record(tensors),
            "metrics": MetricRecord({EXAMPLES: update.examples, **kept}),
        }
    )
    asked = make_message(
        RecordDict(),
        run_id=1,
        message_id="",
        src=1,
        dst=update.node_id,
        group_id="",
        kind=TRAIN,
        ttl=_TTL,
    )
    return Message(content, reply_to=asked)


def _restored(deltas: Tensors, before: TensorMap) -> Tensors:
    return {name: _wide(before[name]) + delta for name, delta in deltas.items()}


def _wide(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))


class _ChosenNodes(Grid):
    """A grid on which there are only the nodes chosen for a round, and nothing can be sent."""

    def __init__(self, node_ids: Sequence[int]) -> None:
        self._node_ids = list(node_ids)
        self._looks = 0

    def get_node_ids(self) -> Iterator[int]:
        self._looks += 1
        if self._looks > _LOOKS:
            raise Invalid(
                f"it waits for more nodes than the {len(self._node_ids)} chosen for the round;"
                " lower its own minimum"
            )
        return iter(self._node_ids)

    def get_nodes(self) -> Iterator[NodeInfo]:
        return (node_info(node_id) for node_id in self.get_node_ids())

    @property
    def run(self) -> Run:
        return self._refuse()

    def set_run(self, run: Run) -> None:
        self._refuse()

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        return self._refuse()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._refuse()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._refuse()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self._refuse()

    def _refuse(self) -> NoReturn:
        raise Invalid("a strategy configures messages; the round engine sends them")
