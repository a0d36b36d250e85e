"""Training that never stops: schedules of a task, what fires them, and what became of each firing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from fedops.core.contracts.base import Finite, Overrides, Reply, Report, Request
from fedops.core.states import FiringStatus

#: The kind of an assignment that looks at a device's data; the record of its result.
WATCH = "watch"
#: The record of an instruction that holds the model which the device evaluates.
WATCH_MODEL = "model"
MAX_GROUP = 1_000
_Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]
#: How often devices are asked to look at their data at most. Seconds.
_LookEvery = Annotated[float, Field(ge=10, le=7 * 86_400, allow_inf_nan=False)]
_Metric = Annotated[str, Field(min_length=1, max_length=200)]
#: A device's name, a pattern of names (``day-*``), or a tag of devices (``tag:ward``).
Group = Annotated[
    list[Annotated[str, Field(pattern=r"^(tag:)?[A-Za-z0-9*?\[\]!._-]{1,63}$")]],
    Field(max_length=MAX_GROUP),
]


# --- triggers --------------------------------------------------------------------------------


class Every(Request):
    """Again and again, so many seconds apart."""

    kind: Literal["every"] = "every"
    seconds: _Seconds

    @field_validator("seconds")
    @classmethod
    def _not_too_often(cls, seconds: float) -> float:
        if seconds < 1:
            raise ValueError("a schedule fires once a second at most")
        return seconds


class Cron(Request):
    """At times by the clock of a zone."""

    kind: Literal["cron"] = "cron"
    expression: str = Field(min_length=1, max_length=200)
    zone: str = Field(default="UTC", min_length=1, max_length=64)


class OnCommit(Request):
    """When the task has other code: a rollout has reached everybody, or the task was updated."""

    kind: Literal["on_commit"] = "on_commit"


class OnNewData(Request):
    """When the devices have new data."""

    kind: Literal["on_new_data"] = "on_new_data"
    #: So many examples more than at the schedule's last run, on all devices together ...
    examples: int | None = Field(default=None, ge=1, le=2**53)
    #: ... or (``examples`` None) when the data of any device is not the same.
    look_seconds: _LookEvery = 300.0


class OnDrift(Request):
    """When the model has become worse on the devices' data, or their inputs are not what they were."""

    kind: Literal["on_drift"] = "on_drift"
    #: This metric of the serving version is worse than when it was promoted, by ``worse_by`` (absolute) ...
    metric: _Metric | None = None
    worse_by: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    #: ... or the population stability index of the inputs is at least so much.
    psi: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    look_seconds: _LookEvery = 300.0

    @model_validator(mode="after")
    def _one_measure(self) -> OnDrift:
        if (self.metric is None) != (self.worse_by is None):
            raise ValueError("a metric needs worse_by, and worse_by a metric")
        if (self.metric is None) == (self.psi is None):
            raise ValueError("drift is seen by a metric or by psi: give one of them")
        return self


class OnDemand(Request):
    """When somebody says so, and never else."""

    kind: Literal["on_demand"] = "on_demand"


Trigger = Annotated[
    Every | Cron | OnCommit | OnNewData | OnDrift | OnDemand, Field(discriminator="kind")
]


# --- what operators ask for ------------------------------------------------------------------


class PromotionRule(Request):
    """Which of the versions that the schedule's runs make become ``serving``."""

    rule: Literal["better", "always", "never"] = "better"
    #: What is compared. "": what the task's gate compares.
    metric: str = Field(default="", max_length=200)
    #: By how much it must be better. Absolute; 0: at all.
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class ScheduleSet(Request):
    """A schedule of a task, new or changed. Its name is in the path."""

    trigger: Trigger
    overrides: Overrides = Field(default_factory=list)
    #: Names or patterns of the devices that take part. []: all.
    devices: Group = Field(default_factory=list)
    promotion: PromotionRule = PromotionRule()
    #: What is done about ticks that came while the server was down, or a run was going on.
    missed: Literal["once", "skip"] = "once"


class SchedulePause(Request):
    because: str = Field(default="", max_length=1_000)


# --- what is to be read ----------------------------------------------------------------------


class FiringRead(Reply):
    id: int
    task: str
    schedule: str
    #: When it fired, and what for.
    at: float
    why: str
    status: FiringStatus
    #: What it waits for, or how it ended.
    outcome: str
    #: How many more ticks came while it was waiting.
    more: int = 0
    run_id: int | None
    version: int | None
    ended_at: float | None


class ScheduleRead(Reply):
    task: str
    name: str
    trigger: Trigger
    #: The trigger in words.
    when: str
    overrides: list[str]
    devices: list[str]
    promotion: PromotionRule
    missed: Literal["once", "skip"]
    created_at: float
    changed_at: float
    #: None: it goes by no clock, or is paused.
    next_at: float | None
    #: What it waits for now, in words.
    next: str
    last: FiringRead | None
    paused_at: float | None
    #: Why it is paused, and what to do; "": it is not.
    paused_why: str


# --- between a device and the server ---------------------------------------------------------


class DataReport(Report):
    """What a device found when it looked at its data. Nothing of the data itself is in it."""

    examples: int = Field(ge=0, le=2**53)
    validation_examples: int = Field(default=0, ge=0, le=2**53)
    #: The same as long as the data is. Keyed by a secret of the device: nobody can guess the data by it.
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    #: The version that ``psi`` and the metrics are about; -1: the task has none.
    version: int = Field(default=-1, ge=-1, le=2**53)
    #: How many features of the inputs were compared, with how many examples of now and of before.
    features: int = Field(default=0, ge=0, le=64)
    compared: int = Field(default=0, ge=0, le=2**53)
    compared_with: int = Field(default=0, ge=0, le=2**53)
    #: Of the feature that has moved most, and how much of that chance alone would bring. None: not known.
    psi: Finite | None = Field(default=None, ge=0)
    psi_by_chance: Finite = Field(default=0.0, ge=0)
    #: Of the version on the validation data.
    metrics: dict[Annotated[str, Field(max_length=200)], Finite] = Field(
        default_factory=dict, max_length=200
    )

    @classmethod
    def from_values(cls, record: dict[str, Any], metrics: dict[str, Any]) -> DataReport:
        """Read the records of a result. ``ValueError`` when they are none of these."""
        return cls.model_validate(
            {**{k.replace("-", "_"): v for k, v in record.items()}, "metrics": metrics}
        )

    def values(self) -> dict[str, Any]:
        """As the values of a config record, without the metrics."""
        plain = self.model_dump(exclude_none=True, exclude={"metrics"})
        return {name.replace("_", "-"): value for name, value in plain.items()}
