"""What a client of FedOps' own rounds is told and what it says, as plain values: no Flower, no tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedops.core.contracts.parameters import ParameterContract
from fedops.core.errors import Invalid

TRAIN, EVALUATE = "train", "evaluate"
#: To evaluate the model of a coalition: a kind for each, so that a device may hold several in one round.
COALITION = f"{EVALUATE}.coalition_"
#: The names of the records in a message.
ARRAYS, CONFIG, METRICS, EVAL_METRICS, HEADER = (
    "arrays",
    "config",
    "metrics",
    "eval-metrics",
    "reply",
)
EXAMPLES = "num-examples"
#: How many metrics a reply may hold, how long their names may be, and how large their values.
MAX_METRICS, MAX_METRIC_NAME, MAX_METRIC = 1_000, 200, 1e30
#: What a config record may hold: a scalar, bytes, or a list of scalars.
ConfigValue = Any


def coalition_kind(number: int) -> str:
    """The kind of the assignments to evaluate this model of a round: 0 is that of all clients."""
    return f"{COALITION}{number}"


def is_coalition_kind(kind: str) -> bool:
    """Whether it is the model of a coalition that is evaluated, and not the global model."""
    return kind.startswith(COALITION)


def message_type_of(kind: str) -> str:
    """What an app is asked: to it, all models are alike."""
    return EVALUATE if is_coalition_kind(kind) else kind


@dataclass(frozen=True)
class TrainingOrder:
    """What a client is asked to do in a round, beside the tensors of the model."""

    round: int
    run_id: int
    attempt: int
    task: str
    run_seed: int
    config: Mapping[str, Any]  #: the run's effective config
    contract: ParameterContract
    dataset: str = ""  #: what the run's data set is called, once known
    evaluate: bool = False  #: whether to evaluate the received model (before training on it)
    retry: int = 0  #: how often the round was tried before: a new try is no repetition of the last
    strategy: Mapping[str, ConfigValue] = field(default_factory=dict)  #: what the strategy tells it
    #: Whether what is measured is the run's: it is not, of the model of a coalition.
    reports: bool = True

    def values(self) -> dict[str, ConfigValue]:
        """As the values of a config record."""
        return {
            **self.strategy,
            "server-round": self.round,
            "run-id": self.run_id,
            "attempt": self.attempt,
            "task": self.task,
            "run-seed": self.run_seed,
            "config-json": json.dumps(self.config),
            "contract-json": self.contract.model_dump_json(),
            "dataset": self.dataset,
            "evaluate": self.evaluate,
            "retry": self.retry,
            **({} if self.reports else {_REPORTS: False}),
        }

    def number(self, key: str, default: float = 0.0) -> float:
        """A number that the strategy added, such as ``proximal-mu``."""
        value = self.strategy.get(key, default)
        return float(value) if isinstance(value, int | float) else default

    @classmethod
    def from_values(cls, record: Mapping[str, ConfigValue]) -> TrainingOrder:
        """Read a config record. ``Invalid`` when it is not one of ours."""
        known = typed(record, _ORDER)
        try:
            config = json.loads(known["config-json"])
            contract = ParameterContract.model_validate_json(known["contract-json"])
        except ValueError as error:
            raise Invalid(f"the server's message cannot be read: {error}") from None
        return cls(
            round=known["server-round"],
            run_id=known["run-id"],
            attempt=known["attempt"],
            task=known["task"],
            run_seed=known["run-seed"],
            config=config,
            contract=contract,
            dataset=known["dataset"],
            evaluate=known["evaluate"],
            retry=known["retry"],
            strategy={k: v for k, v in record.items() if k not in known and k != _REPORTS},
            reports=record.get(_REPORTS) is not False,  # servers say it only where it is not
        )


@dataclass(frozen=True)
class UpdateHeader:
    """Who answers what, and how it went."""

    device: str
    run_id: int
    attempt: int
    round: int
    fingerprint: str
    dataset: str = ""
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    refused: str = ""  #: why the device cannot take part in this run at all
    #: Asked to train, it has no training example: it answers with what it evaluated, if anything.
    evaluates_only: bool = False

    def values(self) -> dict[str, ConfigValue]:
        """As the values of a config record."""
        return {name.replace("_", "-"): getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_values(cls, record: Mapping[str, ConfigValue]) -> UpdateHeader:
        """Read a config record. ``Invalid`` when it is no header."""
        known = typed(record, _HEADER)
        alone = record.get("evaluates-only") is True  # older devices do not say it
        named = {key.replace("-", "_"): value for key, value in known.items()}
        return cls(**named, evaluates_only=alone)


@dataclass(frozen=True)
class ClientMetrics:
    """Metrics over a number of examples."""

    examples: int
    metrics: Mapping[str, float]

    def values(self) -> dict[str, float]:
        """As the values of a metric record."""
        return {EXAMPLES: self.examples, **self.metrics}

    @classmethod
    def from_values(cls, record: Mapping[str, Any]) -> ClientMetrics:
        """Read a metric record.

        Raises:
            Invalid: the number of examples is no positive whole number, a metric is no finite number, or
                there are too many metrics, too long or too large ones.
        """
        metrics = dict(record)
        examples = metrics.pop(EXAMPLES, None)
        if not isinstance(examples, int) or not 0 < examples < 2**53:
            raise Invalid(
                f"its number of examples is {examples}, and must be a positive whole number"
            )
        if len(metrics) > MAX_METRICS:
            raise Invalid(f"it has {len(metrics)} metrics, more than {MAX_METRICS}")
        for key, value in metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise Invalid(f"its metric '{key[:200]}' is {value}, and must be a finite number")
            if wrong := beyond_limits(key, value):
                raise Invalid(f"its metric {key[:60]!r} {wrong}")
        return cls(examples, {key: float(value) for key, value in metrics.items()})


def beyond_limits(name: str, value: float) -> str:
    """Why a metric is not one that a reply may hold; "" when it is."""
    if not name or len(name) > MAX_METRIC_NAME:
        return f"has a name of {len(name)} characters, and may have 1 to {MAX_METRIC_NAME}"
    if not name.isprintable():
        return "has a name with characters that cannot be printed"
    return f"is {value:.3g}, beyond {MAX_METRIC:g}" if abs(value) > MAX_METRIC else ""


_REPORTS = "reports"
_ORDER: Mapping[str, type] = {
    "server-round": int,
    "run-id": int,
    "attempt": int,
    "task": str,
    "run-seed": int,
    "config-json": str,
    "contract-json": str,
    "dataset": str,
    "evaluate": bool,
    "retry": int,
}
_HEADER: Mapping[str, type] = {
    "device": str,
    "run-id": int,
    "attempt": int,
    "round": int,
    "fingerprint": str,
    "dataset": str,
    "train-seconds": float,
    "evaluate-seconds": float,
    "refused": str,
}


def typed(record: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """The values of these names, each of its type. ``Invalid`` names the first that is not."""
    for key, kind in kinds.items():
        value = record.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Invalid(f"the message has no '{key}' of type {kind.__name__}: it is {value!r}")
    return {key: record[key] for key in kinds}
