"""The typed ``config.toml``: every key an app's config may hold, and one message for all mistakes in it.

Knows nothing of models or servers. A ``_target_`` is carried here and resolved elsewhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from fedops.config.run_config import RunConfig
from fedops.config.script_table import Script
from fedops.config.sections import Count, Seconds, Section, Share
from fedops.core.contracts import Finite, Name
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.core.validation_messages import REDACTED

logger = logging.getLogger("fedops.config")
#: What ``server.round.queue_seconds`` was when nobody said anything, while runs waited in a queue.
_QUEUE_SECONDS = 86_400.0
DEFAULT_STRATEGY = "flwr.serverapp.strategy.FedAvg"
#: Other spellings of ``model_type`` (any case) and the adapter they mean.
FRAMEWORKS = {
    "pytorch": "pytorch",
    "torch": "pytorch",
    "keras": "keras",
    "tensorflow": "keras",
    "tf": "keras",
    "sklearn": "sklearn",
    "scikit-learn": "sklearn",
    "huggingface": "huggingface",
    "hf": "huggingface",
    "transformers": "huggingface",
}


class Step(Section):
    """Something to call: ``_target_`` is its dotted name, every other key an argument."""

    model_config = ConfigDict(extra="allow")

    #: Empty when the name is given elsewhere (``[tool.fedops.flow]``) and only arguments here.
    target: str = Field(default="", alias="_target_")

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments, without ``_target_``."""
        return dict(self.model_extra or {})


@cache
def _warn(text: str) -> None:
    """Once, however often a config is read."""
    logger.warning(text)


def _named(value: Any) -> Any:
    return {"_target_": value} if isinstance(value, str) else value


#: A step that may be given by name alone: ``optimizer = "adam"``.
Choice = Annotated[Step, BeforeValidator(_named)]


class Strategy(Step):
    """``[server.strategy]``: a Flower strategy by its current or former name."""

    target: str = Field(default=DEFAULT_STRATEGY, alias="_target_", min_length=1)


class Partition(Section):
    """``[dataset.partition]``: split one data set among the devices of one machine, to experiment."""

    #: How the examples are divided.
    scheme: Literal["iid", "dirichlet", "shards", "quantity"] = "iid"
    #: For dirichlet (over labels) and quantity (over sizes): the smaller, the more unequal.
    alpha: Annotated[Finite, Field(gt=0)] = 0.5
    #: For shards: how many pieces of the data, sorted by label, each device gets.
    shards_per_client: Count = 2
    #: Which part this device takes, from 0. Given on the device, since every device has its own.
    index: Annotated[int, Field(ge=0)] | None = None
    #: How many parts there are.
    of: Count | None = None
    #: The seed of the division. It must be equal on all devices, otherwise their parts overlap. Default:
    #: ``random_seed``.
    seed: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _index_within(self) -> Partition:
        if self.index is not None and self.of is not None and self.index >= self.of:
            raise ValueError(f"index = {self.index} must be less than of = {self.of}")
        return self


class Dataset(Section):
    #: What the data is called. Devices of one run must agree on it.
    name: str = ""
    #: The share of its examples that a device keeps for validation, split by the seed.
    validation_split: Share = 0.2
    #: The folder the data is in, on each device.
    root: str | None = None
    #: Whether the app may fetch the data when it is not there.
    download: bool = True
    #: What to use if the data cannot be found: scikit-learn's handwritten digits, named as such.
    fallback: Literal["digits"] | None = None
    #: How many features the data has. It gives a model that has no shape of its own (scikit-learn) its size,
    #: on machines without data.
    features: Count | None = None
    #: Which labels there are, for the same purpose.
    classes: Annotated[list[int | str], Field(min_length=1)] | None = None
    partition: Partition | None = None


class Xai(Section):
    #: Whether the device explains its predictions.
    enabled: bool = False
    #: Where explanations are computed: on the device.
    run_location: Literal["client"] = "client"
    #: Which of the model's convolutions is explained, counted as Python counts: -1 is the last.
    target_layer_index: int = -1
    #: Where the pictures go.
    output_dir: str = "outputs/gradcam"
    #: The layer's name; it takes precedence over the index. "auto" leaves the choice to the index.
    layer: str = "auto"
    #: The explanation methods that are used.
    methods: Annotated[list[str], Field(min_length=1)] = Field(default=["gradcam"])
    #: In which rounds the device explains.
    when: Literal["before", "every_round", "every_n", "after"] = "every_round"
    #: With ``when = "every_n"``, the device explains in every n-th round and in the last one.
    every_n: Count = 5
    #: How many examples are explained. Each device chooses them once.
    samples: Count = 16
    #: The class that is explained.
    explain: Literal["predicted", "true", "both"] = "predicted"
    #: What may leave the device; its owner's ``device.toml`` has the last word.
    upload: Literal["none", "scores", "images"] = "none"
    #: Which model is explained: the one received, the one trained here, or both.
    models: Literal["global", "local", "both"] = "both"
    #: How long explaining may take per round, in seconds.
    max_seconds: Seconds = 30.0
    #: The share of the time of rounds that explaining may take; beyond it, a round is explained in brief.
    max_share: Annotated[Finite, Field(gt=0, le=1)] = 0.05
    #: For how many rounds pictures are kept; those of older rounds are removed, the series of scores stays.
    keep_rounds: Count = 50


class Wandb(Section):
    #: Whether metrics also go to Weights & Biases.
    use: bool = False
    #: The API key. It never leaves the device and is never shown.
    key: str = Field(default="", repr=False)
    #: The account (entity) there.
    account: str = ""
    #: The project there.
    project: str = ""

    @property
    def secret(self) -> str:
        """The key, if it is one, and not what stands in its place."""
        return "" if self.key.startswith("your ") or self.key == REDACTED else self.key


class RoundPolicy(Section):
    """``[server.round]``: when a round ends, and how many clients it may lose."""

    #: With so many replies a round counts when its deadline has passed, and with so many clients it begins
    #: when the others are not there after `start_grace_seconds`; by default the majority of those it wants.
    min_replies: Count | None = None
    #: How long a round waits for all the clients it wants, before it begins with fewer.
    start_grace_seconds: Seconds = 30.0
    #: How long the clients of a round have.
    deadline_seconds: Seconds = 600.0
    #: This share more clients are invited than are needed.
    over_select: Annotated[Finite, Field(ge=0, le=10)] = 0.0
    #: How long too few clients are waited for before the run fails.
    wait_seconds: Seconds = 600.0
    #: How often a round with too few replies is tried again.
    max_retries: Annotated[int, Field(ge=0)] = 3

    @model_validator(mode="before")
    @classmethod
    def _without_queue(cls, data: Any) -> Any:
        """Configs that were stored say it all; only who wrote another value hears of it."""
        if not isinstance(data, Mapping) or "queue_seconds" not in data:
            return data
        if data["queue_seconds"] != _QUEUE_SECONDS:
            _warn(
                "server.round.queue_seconds means nothing any more: runs share devices; remove it"
            )
        return {key: value for key, value in data.items() if key != "queue_seconds"}


class Limits(Section):
    """``[server.limits]``: what one client's reply may weigh in a round; what is beyond is rejected."""

    #: On how many examples a client may say that it trained or evaluated; by default ten times the median of
    #: what the task's devices say that they have, and of the round: whichever is more, each from three
    #: devices on.
    max_examples: Count | None = None
    #: How far a client may change the model, as a multiple of the round's median L2 norm, from three clients
    #: on; 0: as far as it likes.
    max_norm_ratio: Annotated[Finite, Field(ge=0)] = 20.0


class Gate(Section):
    """``[server.gate]``: when a new version is quarantined, compared with the one its run started from."""

    #: The metric that is compared; by default the first of `loss` and `accuracy` that both versions have.
    #: Without a metric of both there is no gate, and `fedops run show` says so.
    metric: Annotated[str, Field(min_length=1)] | None = None
    #: What is better of the metric; by default lower, if its name has loss, error or perplexity in it.
    better: Literal["lower", "higher"] | None = None
    #: How many times worse it may be: 2.0 lets the loss double, or the accuracy halve; 0: no gate.
    ratio: Annotated[Finite, Field(ge=0)] = 2.0

    @field_validator("ratio")
    @classmethod
    def _no_less_than_one(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be 0 (no gate), or 1 and more")
        return value


class ClientSelection(Section):
    """``[server.selection]``: how the clients of a round are chosen; its other keys are options."""

    model_config = ConfigDict(extra="allow")

    #: The selector, by name.
    selector: Annotated[str, Field(min_length=1)] = "random"

    @property
    def options(self) -> dict[str, Any]:
        """What is given to the selector."""
        return dict(self.model_extra or {})


class Contribution(Section):
    """``[server.contribution]``: what each client's update was worth, measured after a round."""

    #: ``"none"``: nothing is measured. ``"auto"``: what fits the budget best; or an estimator, by name.
    method: Annotated[str, Field(min_length=1)] = "none"
    #: Who evaluates models: ``"server"``, on its validation data; ``"clients"``, on their own: each of them
    #: can then learn the others' updates; ``"auto"``: the server if it has data, else nobody.
    utility: Literal["auto", "server", "clients"] = "auto"
    #: Every how many rounds.
    every: Count = 1
    #: How many models of coalitions are evaluated a round at most. Given alone, time sets no limit.
    max_evaluations: Count | None = None
    #: How long the scoring of a round may take, in seconds of a processor; by default a tenth of the rounds.
    max_seconds: Annotated[Finite, Field(gt=0)] | None = None
    #: What follows for a client that was found out: ``"report"``, ``"exclude"`` or ``"downweight"``.
    policy: Annotated[str, Field(min_length=1)] = "report"


class Server(Section):
    #: The Server Manager that the client app joins.
    url: str | None = None
    #: Flower's strategy, by its current or former name, with its arguments.
    strategy: Strategy = Strategy()
    round: RoundPolicy = RoundPolicy()
    selection: ClientSelection = ClientSelection()
    contribution: Contribution = Contribution()
    limits: Limits = Limits()
    gate: Gate = Gate()


class Exchange(Section):
    """``[exchange]``: which tensors travel, and how. Patterns are shell globs over tensor names."""

    #: Floating-point state that is not trained, such as running means.
    float_buffers: Literal["mean", "local"] = "mean"
    #: Counters and other integers.
    integer_buffers: Literal["max", "local"] = "max"
    #: Tensors that stay on the device.
    local: list[str] = Field(default=[])
    #: The floating-point type that travels; the model's own by default.
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    #: How updates are written on the way. ``zstd`` costs time and saves bytes.
    encoding: Literal["none", "zstd"] = "none"


def _known_accelerator(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,2})?", value):
        raise ValueError(
            'must be "auto", "cpu", "cuda", "mps", or one CUDA device by its number, such as "cuda:1"'
        )
    return value


AcceleratorName = Annotated[str, AfterValidator(_known_accelerator)]


class Resources(Section):
    """``[resources]``: what training may use on a device; its owner's ``device.toml`` bounds it."""

    #: Where the model is trained: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"`` for the first
    #: CUDA device, else the CPU. What is not there is replaced by the CPU, and the device says so.
    accelerator: AcceleratorName = "auto"
    #: How much memory of the accelerator training may use, in MB, with PyTorch and what is built on it.
    accelerator_memory_mb: Count | None = None
    #: How many CPU threads training may use.
    threads: Count | None = None


class Config(Section):
    #: The seed of the whole run: initial model, choice of clients, training on each device.
    random_seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    #: The learning rate of each client's optimizer.
    learning_rate: Annotated[Finite, Field(gt=0)] = 0.001
    #: Which adapter is used, in any of its spellings. Default: FedOps recognises it from the model.
    model_type: str | None = None
    #: The task to work for. "task_id" stands for the only ready task of the server.
    task_id: Name = "task_id"
    #: How often each client goes through its data in a round.
    num_epochs: Count = 1
    #: How many examples one training step uses.
    batch_size: Count = 32
    #: How many rounds a run has.
    num_rounds: Count = 1
    #: How many clients a round has; without it the strategy's fraction and minimum decide.
    clients_per_round: Count | None = None
    #: The project's own command, where that trains the model. The other steps are not used then.
    script: Script | None = None
    #: What an app of plain Flower reads in its run config; by default what `[tool.flwr.app.config]` says.
    run_config: RunConfig | None = None
    #: What makes the model.
    model: Step = Step()
    dataset: Dataset = Dataset()
    #: What loads the device's data. Steps are mostly named in ``[tool.fedops.flow]``.
    data: Step | None = None
    #: What trains the model on the data; without it, the adapter's own loop does.
    train: Step | None = None
    #: What evaluates the model; without it, the adapter's own loop does.
    evaluate: Step | None = None
    #: What loads the server's own data to judge the global model on.
    validation: Step | None = None
    #: The optimizer of the adapter's own loop, by name or as a step.
    optimizer: Choice | None = None
    #: The loss of the adapter's own loop, by name or as a step.
    loss: Choice | None = None
    exchange: Exchange = Exchange()
    resources: Resources = Resources()
    xai: Xai = Xai()
    wandb: Wandb = Wandb()
    server: Server = Server()

    @field_validator("model_type")
    @classmethod
    def _known_framework(cls, value: str | None) -> str | None:
        if value is not None and value.casefold() not in known_frameworks():
            guess = did_you_mean(value, known_frameworks())
            raise ValueError(
                f"must be one of {comma_list(known_frameworks())} (in any case){guess}"
            )
        return value

    @property
    def framework(self) -> str | None:
        """The adapter's name that ``model_type`` means; None: to be seen from the model."""
        return known_frameworks()[self.model_type.casefold()] if self.model_type else None

    @property
    def partition_seed(self) -> int:
        partition = self.dataset.partition
        given = partition.seed if partition else None
        return self.random_seed if given is None else given


@cache
def known_frameworks() -> dict[str, str]:
    """Spelling (folded) -> adapter, with those that installed packages add."""
    added = {entry.name.casefold(): entry.name for entry in entry_points(group="fedops.adapters")}
    return {**FRAMEWORKS, **added}


# --- reading ---------------------------------------------------------------------------------
