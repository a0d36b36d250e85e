"""What clients are asked to do, as documents: equal ones are made once, however many clients get them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedops.core.contracts import BlobRef, OfferBatch, OfferRequest
from fedops.core.contracts.training import (
    ARRAYS,
    CONFIG,
    EVALUATE,
    TRAIN,
    ConfigValue,
    TrainingOrder,
    coalition_kind,
)
from fedops.core.reasons.devices import EVALUATES_ONLY
from fedops.engine.global_model import GlobalModel
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.run_setup import Setup
from fedops.engine.update_checks import max_bytes_of
from fedops.storage.payloads import Document, Payload, make_document
from fedops.storage.tensors import save

#: Values of an order that say who asks when, and nothing of the work.
_CIRCUMSTANCES = ("attempt", "retry", "dataset")


@dataclass(frozen=True)
class Invitation:
    """What one client is asked."""

    node_id: int
    order: TrainingOrder  #: the same object for clients that are asked the same
    reason: str  #: why this client was chosen
    kind: str = TRAIN


@dataclass(frozen=True)
class ModelBlobs:
    """A global model in the store, and the file of it that clients are given."""

    model: GlobalModel
    exchanged: BlobRef

    @classmethod
    def hand_over(cls, model: GlobalModel, files: BlobFiles, spool: Path) -> ModelBlobs:
        """``model`` itself is in the store; what travels of it may have to be a file of its own."""
        if model.is_exchanged_whole:
            model.require_unchanged()
            return cls(model, BlobRef(sha256=model.sha256, size=model.path.stat().st_size))
        path = spool / f"exchanged-{model.sha256[:16]}.safetensors"
        exchanged = files.hand_over(path, save(model.exchanged(), path, durable=False))
        path.unlink()
        return cls(model, exchanged)


class Orders:
    """What the clients of a round are asked. Those that are asked the same get the same object."""

    def __init__(self, setup: Setup, round_: int, dataset: str, run_id: int | None = None) -> None:
        """``run_id``: another run, whose updates answer them."""
        self._setup = setup
        self._run_id = setup.spec.run_id if run_id is None else run_id
        self._round = round_
        self._dataset = dataset
        self._made: dict[tuple[bool, int, str], TrainingOrder] = {}
        self._evaluations: dict[int, TrainingOrder] = {}

    def to_evaluate(self, node_id: int, retry: int = 0, reason: str = EVALUATES_ONLY) -> Invitation:
        """What a client is asked that evaluates only: of the model that the round before made."""
        before = Orders(self._setup, self._round - 1, self._dataset, self._run_id)
        order = self._evaluations.setdefault(retry, before.of(evaluate=True, told={}, retry=retry))
        return Invitation(node_id, order, reason, EVALUATE)

    def to_evaluate_coalition(self, number: int) -> Invitation:
        """What a client of the round is asked of one of its coalitions' models."""
        order = replace(self._make(True, {}, 0), reports=False)
        return Invitation(0, order, "it was a client of the round", coalition_kind(number))

    def of(
        self, *, evaluate: bool, told: Mapping[str, ConfigValue], retry: int = 0
    ) -> TrainingOrder:
        """The order for a client that is told this by the strategy, asked for the ``retry``-th time."""
        key = (evaluate, retry, repr(sorted(told.items())))
        if key not in self._made:
            self._made[key] = self._make(evaluate, told, retry)
        return self._made[key]

    def _make(self, evaluate: bool, told: Mapping[str, ConfigValue], retry: int) -> TrainingOrder:
        spec = self._setup.spec
        return TrainingOrder(
            round=self._round,
            run_id=self._run_id,
            attempt=spec.attempt,
            task=spec.task,
            run_seed=spec.seed,
            config=self._setup.plain_config,
            contract=self._setup.model.contract,
            dataset=self._dataset,
            evaluate=evaluate,
            retry=retry,
            strategy=told,
        )


class Instructions:
    """Makes the documents for clients that begin from one model."""

    def __init__(self, blobs: ModelBlobs, encodings: list[str]) -> None:
        self._model = blobs.model
        self._encodings = encodings
        self._arrays = {
            ARRAYS: (blobs.exchanged, [spec.name for spec in self._model.contract.federated])
        }
        self.max_bytes = max_bytes_of(self._model.contract)
        self._made: dict[int, tuple[TrainingOrder, Document]] = {}

    def document(self, order: TrainingOrder) -> Document:
        """The payload document of an order."""
        if id(order) not in self._made:
            payload = Payload(configs={CONFIG: order.values()})
            self._made[id(order)] = order, make_document(payload, self._arrays)
        return self._made[id(order)][1]

    def batch(
        self, invitations: Mapping[str, Invitation], seconds: float, round_: int | None
    ) -> OfferBatch:
        """Offers to these devices, which have so many seconds."""
        orders: dict[int, tuple[int, TrainingOrder]] = {}
        offers = []
        for device, invitation in invitations.items():
            order = invitation.order
            index, _ = orders.setdefault(id(order), (len(orders), order))
            offers.append(
                OfferRequest(
                    device=device,
                    kind=invitation.kind,
                    instruction=index,
                    retry=order.retry,
                    evaluates=order.evaluate,
                )
            )
        return OfferBatch(
            instructions=[self.document(order) for _, order in orders.values()],
            offers=offers,
            deadline_seconds=seconds,
            group_id=str(round_ or ""),
            model=self._model.sha256,
            encodings=self._encodings,
            max_bytes=self.max_bytes,
            round=round_,
        )


def same_work(one: Document, other: Mapping[str, Any]) -> bool:
    """Whether two documents ask for the same, whichever attempt they are of."""
    return _work_of(one) == _work_of(other)


def _work_of(document: Mapping[str, Any]) -> dict[str, Any]:
    records = dict(document.get("records", {}))
    config = records.get(CONFIG, {})
    values = dict(config.get("values", {}))
    for name in _CIRCUMSTANCES:
        values.pop(name, None)
    return {**records, CONFIG: {**config, "values": values}}
