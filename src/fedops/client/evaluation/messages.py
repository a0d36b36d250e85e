"""Between ``fedops client evaluate`` and the process that evaluates, and what the owner gets to read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from fedops.core.contracts import DeviceModelRead


class EvaluationArgs(BaseModel):
    """What the process is started with, in a file that only this user may read."""

    home: Path
    device: str
    app_dir: Path
    overrides: list[str]
    model: DeviceModelRead
    #: The model's safetensors file, and where the answer is to be.
    file: Path
    answer: Path


class Evaluation(BaseModel):
    """The answer. ``problem``: why there are no metrics."""

    problem: str = ""
    examples: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    dataset: str = ""
    seconds: float = 0.0
    #: What a reader of the numbers should know: one sentence each.
    notes: list[str] = Field(default_factory=list)


class EvaluationReport(BaseModel):
    """What is kept in the device's home, and nowhere else."""

    task: str
    version: int
    sha256: str
    run_id: int | None
    round: int
    device: str
    app: str
    dataset: str
    examples: int
    metrics: dict[str, float]
    seconds: float
    notes: list[str]
    evaluated_at: float
    #: What it ran on: Python, platform, versions of libraries.
    environment: dict[str, str]
    #: Where this report is.
    path: str = ""
