"""Looks at the device's data, evaluates the model that serves on it, and ends.

``python -m fedops.client.training.watch_process ARGS_FILE``. The data is loaded anew, so that what has come
since the training client loaded it is seen. Of what is found, numbers leave this process, and no data.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.client.training.model_evaluation import evaluate_model
from fedops.client.training.one_question import answer_in, read_question
from fedops.core.contracts import DataReport, ParameterContract
from fedops.core.contracts.training import TrainingOrder
from fedops.core.errors import FedOpsError, Invalid
from fedops.platforms.processes import end_first_when_memory_lacks
from fedops.scalize.flow.project import Project
from fedops.trainer.data_facts import KeptFacts, look_at

logger = logging.getLogger("fedops.training")
OWN_COMMAND = (
    "the app is trained by a command of its own, which alone reads the data: it cannot"
    " be looked at from outside"
)


class WatchedModel(BaseModel):
    """The model that is evaluated."""

    file: Path
    contract: ParameterContract
    round: int
    run_id: int
    dataset: str


class WatchArgs(BaseModel):
    """What the process is started with, in a file that only this user may read."""

    home: Path
    device: str
    task: str
    app_dir: Path
    overrides: list[str] = Field(default_factory=list)
    #: Of the run that made the version, else of the task.
    config: dict[str, Any]
    version: int
    compares: bool
    model: WatchedModel | None = None
    answer: Path


class WatchAnswer(BaseModel):
    """The answer. ``refused`` or ``failed``: why nothing was found."""

    refused: str = ""
    failed: str = ""
    report: DataReport | None = None
    #: Whether the data is not what it was at the last look.
    changed: bool = False


def watch(args: WatchArgs) -> WatchAnswer:
    """Look at the data under the task's config, within the limits of the device's owner.

    Raises:
        FedOpsError: the app, its data or the config do not allow it, with what to do.
    """
    home = DataDir(args.home)
    owner = load_device_config(home.device_config)
    config, _ = owner.bound(args.config)
    project = Project.open(args.app_dir, [*args.overrides, *owner.overrides()])
    if project.config.script is not None:
        raise Invalid(OWN_COMMAND)
    file = home.looks / f"{args.task}.json"
    kept = KeptFacts.read(file)
    before = kept.fingerprint
    data = project.with_config(config).load_data()
    report = look_at(data, kept, args.version, compares=args.compares)
    if args.model is not None and report.validation_examples:
        report = report.model_copy(update={"metrics": _metrics(args, args.model, project, config)})
    kept.keep(file)
    return WatchAnswer(report=report, changed=before != report.fingerprint)


def _metrics(
    args: WatchArgs, model: WatchedModel, project: Project, config: dict[str, Any]
) -> dict[str, float]:
    order = TrainingOrder(
        round=model.round,
        run_id=model.run_id,
        attempt=0,
        task=args.task,
        run_seed=int(config["random_seed"]),
        config=config,
        contract=model.contract,
        dataset=model.dataset,
        evaluate=True,
    )
    try:
        update, _ = evaluate_model(project, DataDir(args.home), args.device, order, model.file)
    except FedOpsError as error:  # what was found in the data is told all the same
        logger.warning("V%d is not evaluated on this data: %s", args.version, error.message)
        return {}
    return {} if update.evaluated is None else dict(update.evaluated.metrics)


def main() -> None:
    """Look, and write the answer."""
    end_first_when_memory_lacks()
    args = read_question(WatchArgs)
    answer_in(
        args.answer,
        args.app_dir,
        lambda: watch(args),
        refused=lambda why: WatchAnswer(refused=why),
        failed=lambda why: WatchAnswer(failed=why),
    )


if __name__ == "__main__":
    main()
