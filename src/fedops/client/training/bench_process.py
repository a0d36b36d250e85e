"""Times the app on a chunk of the device's data, in a process of its own, and ends.

``python -m fedops.client.training.bench_process ARGS_FILE``. It inherits what holds for the training client
(user, confinement, priority) and writes nothing but its answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.client.training.one_question import answer_in, read_question
from fedops.core.contracts import BenchMeasured
from fedops.core.errors import Invalid
from fedops.platforms.processes import end_first_when_memory_lacks
from fedops.scalize.flow.project import Project
from fedops.trainer.chunk_bench import measure

OWN_CLIENT_APP = (
    "the app's ClientApp loads model and data by itself, so that there is nothing to time: "
    "the first rounds will show how long they take"
)
OWN_COMMAND = (
    "the app is trained by a command of its own, of whose data no chunk can be taken: a script's training is"
    " timed in its rounds"
)


class BenchArgs(BaseModel):
    """What the process is started with, in a file that only this user may read."""

    home: Path
    device: str
    app_dir: Path
    overrides: list[str] = Field(default_factory=list)
    #: Of the task.
    config: dict[str, Any]
    fraction: float
    seconds: float
    answer: Path


class BenchAnswer(BaseModel):
    """The answer. ``refused`` or ``failed``: why nothing was measured."""

    refused: str = ""
    failed: str = ""
    measured: BenchMeasured | None = None


def bench(args: BenchArgs) -> BenchMeasured:
    """Time it under the task's config, within the limits of the device's owner.

    Raises:
        FedOpsError: the app, its data or the config do not allow it, with what to do.
    """
    owner = load_device_config(DataDir(args.home).device_config)
    config, _ = owner.bound(args.config)
    project = Project.open(args.app_dir, [*args.overrides, *owner.overrides()])
    project = project.with_config(config)
    if project.config.script is not None:
        raise Invalid(OWN_COMMAND)
    if not project.is_whole:
        raise Invalid(OWN_CLIENT_APP)
    return measure(project, args.device, args.fraction, args.seconds)


def main() -> None:
    """Measure, and write the answer."""
    end_first_when_memory_lacks()
    args = read_question(BenchArgs)
    answer_in(
        args.answer,
        args.app_dir,
        lambda: BenchAnswer(measured=bench(args)),
        refused=lambda why: BenchAnswer(refused=why),
        failed=lambda why: BenchAnswer(failed=why),
    )


if __name__ == "__main__":
    main()
