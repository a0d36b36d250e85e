"""Evaluates one model version with the device's app and data, in a process of its own, and ends.

``python -m fedops.client.evaluation.process ARGS_FILE``. It does what a training client does in a round that
only evaluates, but writes nothing of what that one keeps.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.client.evaluation.messages import Evaluation, EvaluationArgs
from fedops.client.training.model_evaluation import evaluate_model
from fedops.core.contracts import ExchangeRule
from fedops.core.contracts.training import TrainingOrder
from fedops.core.errors import FedOpsError, Invalid
from fedops.platforms.confinement import write_no_core
from fedops.platforms.processes import lower_priority
from fedops.processes.log_output import log_to_stderr
from fedops.processes.spawn import die_with_parent
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.target_import import import_advice

logger = logging.getLogger("fedops.training")


def evaluate(args: EvaluationArgs) -> Evaluation:
    """The metrics of the version on this device's validation data.

    Raises:
        FedOpsError: the app, the data or the model do not allow it, with what to do.
    """
    home, model = DataDir(args.home), args.model
    owner = load_device_config(home.device_config)
    config, notes = owner.bound(model.config)
    project = Project.open(args.app_dir, [*args.overrides, *owner.overrides()])
    order = TrainingOrder(
        round=model.round,
        run_id=model.run_id or 0,
        attempt=0,
        task=model.task,
        run_seed=int(config["random_seed"]),
        config=config,
        contract=model.contract,
        dataset=model.dataset or "",
        evaluate=True,
    )
    begun = time.monotonic()
    update, remarks = evaluate_model(project, home, args.device, order, args.file)
    if update.evaluated is None:
        raise Invalid(
            "this device has no validation data: the app's data step gives none, and "
            "dataset.validation_split of the run's config is 0, or gives no example here"
        )
    if remarks.accelerator_problem:
        notes.append(remarks.accelerator_problem)
    if any(spec.rule is ExchangeRule.LOCAL for spec in model.contract.parameters):
        notes.append("the tensors that never leave this device are its own, not the version's")
    return Evaluation(
        examples=update.evaluated.examples,
        metrics=dict(update.evaluated.metrics),
        dataset=update.header.dataset,
        seconds=time.monotonic() - begun,
        notes=notes,
    )


def main() -> None:
    """Evaluate, and write the answer."""
    write_no_core()
    die_with_parent()
    log_to_stderr("%(levelname)s %(name)s: %(message)s")
    args = EvaluationArgs.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv = sys.argv[:1]  # an app that reads its command line when imported finds it empty
    lower_priority(load_device_config(DataDir(args.home).device_config).limits.nice)
    try:
        answer = evaluate(args)
    except FedOpsError as error:
        answer = Evaluation(problem=error.message)
    except (Exception, SystemExit) as error:
        logger.exception("the app failed")
        answer = Evaluation(problem=f"the app failed: {import_advice(error, [args.app_dir])}")
    args.answer.write_text(answer.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
