"""The registry of global model versions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fedops.core.contracts.base import Finite, Name, Reason, Reply, Report, Request, Said
from fedops.core.contracts.parameters import ParameterContract
from fedops.core.states import DeploymentHealth, ServingStatus

#: The alias that devices serve unless they say otherwise.
SERVING = "serving"
#: A version's number, as a device says it.
_Version = Annotated[int, Field(ge=0, le=2_147_483_647)]


class ModelVersionRead(Reply):
    """A global model version. Immutable; ``V0`` is the initial model."""

    task: str
    version: int
    run_id: int | None
    round: int
    parent: int | None
    sha256: str
    size: int
    metrics: dict[str, float]
    lineage: dict[str, Any]
    aliases: list[str]
    created_at: float
    #: Why nothing goes on from it: ``latest`` passes it over, no alias is moved to it, no run starts from it.
    quarantine: str | None = None
    quarantined_at: float | None = None


class Because(Request):
    """Why a person does what is not easily undone."""

    because: Reason


class Rebuild(Request):
    """Make a version again, without the updates of a device."""

    without: Name
    #: Only take it out of the last round, though its updates of earlier rounds stay in.
    last_round: bool = False


class DeviceModelRead(Reply):
    """A version as a device is told of it that takes part in the task: what it needs to evaluate it."""

    task: str
    version: int
    sha256: str
    size: int
    #: Where it comes from: the run and its round, with the config that the run used.
    run_id: int | None
    round: int
    config: dict[str, Any]
    contract: ParameterContract
    #: What the run's data set is called.
    dataset: str | None
    created_at: float


class Promotion(Request):
    """The alias that is to name a version."""

    alias: str = Field(default=SERVING, max_length=63)


class AliasMoveRead(Reply):
    version: int
    who: str
    at: float
    #: When a rollback took it back.
    undone_at: float | None


class AliasRead(Reply):
    """A movable name for a version, and its newest moves, the newest first."""

    name: str
    version: int
    moved_at: float
    moves: list[AliasMoveRead]


class FileCheck(Reply):
    """Whether the file of a version is what it was. ``problem`` None: it is."""

    task: str
    version: int
    sha256: str
    problem: str | None = None


class MetricDifference(Reply):
    first: float | None
    second: float | None


class ConfigDifference(Reply):
    first: Any
    second: Any


class TensorDifference(Reply):
    """A tensor in two models: its shapes (None: absent) and, where they agree, how far apart it is."""

    name: str
    first: list[int] | None
    second: list[int] | None
    #: The Euclidean distance, and that in proportion to the first's norm.
    distance: float | None = None
    relative: float | None = None
    #: The largest difference of one value.
    largest: float | None = None


class ModelComparison(Reply):
    """What differs between two versions of a task's model."""

    task: str
    first: int
    second: int
    identical: bool
    metrics: dict[str, MetricDifference]
    #: Only the keys that differ.
    config: dict[str, ConfigDifference]
    tensors: list[TensorDifference]
    #: Over all tensors that both have.
    distance: float | None


# --- the model on devices --------------------------------------------------------------------


class DesiredModel(Reply):
    """The version that a device is to serve for a task. Level-triggered: the device makes it so."""

    task: str
    alias: str
    version: int
    sha256: str
    size: int
    metrics: dict[str, float] = Field(default_factory=dict)
    #: Since when the alias names it. POSIX seconds by the server's clock.
    promoted_at: float
    #: Why it is not delivered; "": nothing is in the way. Who has it already keeps it.
    hold: str = ""


class ServingReport(Report):
    """A device wants the version that an alias of a task names, and says how far it is with it."""

    task: Name
    alias: Name = SERVING
    #: The version that it heard of last. None: of none yet.
    wanted: _Version | None = None
    #: The version that is in its folder and that its command has taken. None: none yet.
    active: _Version | None = None
    status: ServingStatus = ServingStatus.WAITING
    reason: Said = Field(default="", max_length=2_000)
    #: It will not get on by itself: its disk is full, its owner holds it.
    stalled: bool = False
    #: Since when it is so, in seconds.
    seconds: Finite = Field(default=0.0, ge=0)


class ServingRead(Reply):
    """One device that serves a model: which version is wanted of it, which one it has, and why."""

    device: str
    alias: str
    desired: int | None
    actual: int | None
    #: Whether it serves what is wanted of it.
    synced: bool
    health: DeploymentHealth
    status: ServingStatus
    since: float
    why: str
