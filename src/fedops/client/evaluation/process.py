"""Evaluates one model version with the device's app and data, in a process of its own, and ends.

``python -m fedops.client.evaluation.process ARGS_FILE``. It does what a training client does in a round that
only evaluates, but writes nothing of what that one keeps.
"""

from __future__ import annotations

import time

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.client.evaluation.messages import Evaluation, EvaluationArgs
from fedops.client.training.model_evaluation import evaluate_model
from fedops.client.training.one_question import answer_in, read_question
from fedops.core.contracts import ExchangeRule
from fedops.core.contracts.training import TrainingOrder
from fedops.core.errors import Invalid
from fedops.platforms.processes import lower_priority
from fedops.scalize.flow.project import Project


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
    args = read_question(EvaluationArgs)
    lower_priority(load_device_config(DataDir(args.home).device_config).limits.nice)
    answer_in(
        args.answer,
        args.app_dir,
        lambda: evaluate(args),
        refused=lambda why: Evaluation(problem=why),
        failed=lambda why: Evaluation(problem=why),
    )


if __name__ == "__main__":
    main()
