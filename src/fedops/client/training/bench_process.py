"""Times the app on a chunk of the device's data, in a process of its own, and ends.

``python -m fedops.client.training.bench_process ARGS_FILE``. It inherits what holds for the training client
(user, confinement, priority) and writes nothing but its answer.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.core.contracts import BenchMeasured
from fedops.core.errors import FedOpsError, Invalid
from fedops.platforms.confinement import write_no_core
from fedops.platforms.processes import end_first_when_memory_lacks
from fedops.processes.log_output import log_to_stderr
from fedops.processes.spawn import die_with_parent
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.target_import import import_advice
from fedops.trainer.chunk_bench import measure

logger = logging.getLogger("fedops.training")
OWN_CLIENT_APP = (
    "the app's ClientApp loads model and data by itself, so that there is nothing to time: "
    "the first rounds will show how long they take"
)
OWN_COMMAND = (
    "the app is trained by a command of its own, of whose data no chunk can be taken: a script's"
    " training is timed"
    " in its rounds"
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
    write_no_core()
    die_with_parent()
    end_first_when_memory_lacks()
    log_to_stderr("%(levelname)s %(name)s: %(message)s")
    args = BenchArgs.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv = sys.argv[:1]  # an app that reads its command line when imported finds it empty
    try:
        answer = BenchAnswer(measured=bench(args))
    except FedOpsError as error:
        answer = BenchAnswer(refused=error.message)
    except (Exception, SystemExit) as error:
        logger.exception("the app failed in a benchmark")
        answer = BenchAnswer(failed=f"the app failed: {import_advice(error, [args.app_dir])}")
    args.answer.write_text(answer.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
