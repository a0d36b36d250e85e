"""The examination behind ``fedops check``, in the process that imports the project.

``python -m fedops.scalize.check.check_process APP_DIR ANSWER_FILE``
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from fedops.core.errors import FedOpsError, Invalid
from fedops.core.seeds import client_seed
from fedops.processes.spawn import die_with_parent
from fedops.scalize.adapter.parameter_exchange import is_floating
from fedops.scalize.adapter.protocol import ModelAdapter, TrainContext, TrainingState
from fedops.scalize.check.asked_process import PROGRESS
from fedops.scalize.check.import_watch import refuse_training
from fedops.scalize.check.script_examination import examine_script
from fedops.scalize.discovery.app_differences import differences_of_app
from fedops.scalize.flow.datasets import DataSplit, count, take
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.result_parsing import metrics_left_out
from fedops.scalize.flow.target_import import import_advice
from fedops.storage.tensors import Tensors, pack, unpack

#: How many batches the tiny round trains on.
BATCHES = 4


class Further:
    """What others know of a project. Each raises a ``FedOpsError`` for what is wrong."""

    def look_at(self, project: Project) -> None:
        """Before the model is built."""

    def look_at_built(self, project: Project, adapter: ModelAdapter, split: DataSplit) -> None:
        """Before anything is trained."""


class Unkept:
    """``EpochCheckpoints`` that keeps nothing and sees whether a loop would."""

    wanted = False
    begun = False

    def begin(self) -> TrainingState | None:
        self.begun = True
        return None

    def save(self, state: TrainingState) -> None: ...


class Examination:
    """One look at a project, from reading its files to one round on a part of its data."""

    def __init__(
        self,
        app_dir: Path,
        further: Further,
        say: Callable[[str], None] = lambda line: None,
        stop: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """``say`` is told how far it is; ``stop`` ends the process with a report, even while it imports."""
        self.app_dir = app_dir
        self.further = further
        self._say, self._stop = say, stop
        self.report: dict[str, Any] = {"app": str(app_dir), "problems": [], "notes": []}

    def run(self) -> dict[str, Any]:
        """The report; the first thing that is wrong ends it."""
        try:
            self._run()
        except FedOpsError as error:
            self.report["problems"].append(_helped(error.message))
        except (Exception, SystemExit) as error:
            words = import_advice(error, [self.app_dir, self.app_dir.parent])
            ended = isinstance(error, SystemExit)
            what = "the project ended the process that imported it" if ended else "the check failed"
            self.report["problems"].append(f"{what}: {words}")
        self.report["ok"] = not self.report["problems"]
        return self.report

    def _run(self) -> None:
        project = self._open()
        self.report["app"] = project.app_name
        with self._importing(project):
            self.report["steps"] = project.describe()
        self.report["differences"] = [
            difference.model_dump()
            for difference in differences_of_app(project.manifest, project.config)
        ]
        self.further.look_at(project)
        if project.config.script is not None:
            self._describe(project.make_adapter(self._seed(project)))
            examine_script(project, self.report, self._say)
            return
        first, second = project.make_adapter(self._seed(project)), self._again(project)
        self._describe(first)
        self._compare(first, second)
        split = self._data(project, first)
        if split is None:
            return
        self.report["examples"] = split.examples
        self.further.look_at_built(project, first, split)
        self._round(project, first, second, split)
        self._validation(project)

    def _importing(self, project: Project) -> AbstractContextManager[None]:
        """Where the project's modules are imported: a training that this starts is not waited for."""
        stop, manifest = self._stop, project.manifest
        if stop is None:
            return nullcontext()

        def refuse(problem: str) -> None:
            stop({**self.report, "problems": [problem], "ok": False})

        home = manifest.workdir or manifest.app_dir
        return refuse_training(home, [home, *manifest.folders], refuse)

    def _open(self) -> Project:
        """The project under the config that it is examined with."""
        return Project.open(self.app_dir)

    def _data(self, project: Project, built: ModelAdapter) -> DataSplit | None:
        """What the tiny round trains on. None: no training is tried."""
        split = project.load_data()
        if not split.examples:
            raise Invalid(
                f"{_data_step(project)} gives no training example here, so no training can be tried; "
                "a device with validation data only takes part in evaluation, but check an app where it "
                "can train"
            )
        return split

    def _seed(self, project: Project) -> int:
        return project.config.random_seed

    def _again(self, project: Project) -> ModelAdapter:
        return project.make_adapter(self._seed(project))

    def _describe(self, adapter: ModelAdapter) -> None:
        contract = adapter.contract
        federated = {spec.name for spec in contract.federated}
        self.report["fingerprint"] = contract.fingerprint
        self.report["parameters"] = [
            {
                "name": spec.name,
                "shape": list(spec.shape),
                "dtype": spec.dtype,
                "federated": spec.name in federated,
            }
            for spec in contract.parameters
        ]
        if told := getattr(adapter, "from_data", ""):
            self.report["notes"].append(told)
        for name, first in getattr(adapter, "tied", {}).items():
            self.report["notes"].append(
                f"'{name}' is the same tensor as '{first}' and travels under that name; load a downloaded"
                " model with safetensors.torch.load_model, which knows of this"
            )

    def _compare(self, first: ModelAdapter, second: ModelAdapter) -> None:
        """Every device builds the model for itself: one seed has to give one model."""
        if lines := first.contract.differences(second.contract):
            raise Invalid(f"two builds of the model differ: {'; '.join(lines)}")
        mine, theirs = first.get_tensors(), second.get_tensors()
        for name, array in mine.items():
            if array.tobytes() != theirs[name].tobytes():
                raise Invalid(
                    f"two builds of the model with one seed differ in '{name}': the model step draws from a "
                    "random source that is not seeded; use the framework's own, or its parameter seed"
                )

    # --- the tiny round ----------------------------------------------------------------------------

    def _round(
        self, project: Project, client: ModelAdapter, server: ModelAdapter, split: DataSplit
    ) -> None:
        config = project.config
        seed = client_seed(config.random_seed, "check", 1)  # as large as a device's
        kept = Unkept()
        context = TrainContext(
            1,
            seed,
            config.num_epochs,
            config.batch_size,
            config.learning_rate,
            checkpoints=kept,
        )
        part, share = _part_of(split, config.batch_size)
        sent = pack(federated(server))
        client.set_tensors(unpack(sent))
        before = client.get_tensors()
        client.train(part, context)  # the first time is slower than any later one
        update = federated(client)
        client.set_tensors(before)
        trained, training = _timed(lambda: client.train(part, context))
        self.report["resumes"] = kept.begun
        self._repeatable(update, federated(client))
        update = federated(client)
        _check_update(before, client.get_tensors(), update, trained.examples)
        server.set_tensors(unpack(received := pack(update)))
        held_out = split.validation if split.validation is not None else part
        judged, evaluating = _timed(lambda: client.evaluate(held_out, context))
        _check_unchanged(client.get_tensors(), before=update)
        self.report["metrics"] = {**trained.metrics, **judged.metrics}
        self.report["notes"] += metrics_left_out()
        self.report["bytes_per_round"] = len(sent) + len(received)
        self.report["seconds"] = round(training / share + evaluating, 3)

    def _repeatable(self, first: Tensors, second: Tensors) -> None:
        if any(array.tobytes() != second[name].tobytes() for name, array in first.items()):
            self.report["notes"].append(
                "training twice with one seed gave two different models, so runs cannot be repeated exactly; "
                "the train step draws from a random source of its own"
            )

    def _validation(self, project: Project) -> None:
        given = project.load_validation_data()
        if given is not None:
            count(given[0], "the validation step")


def _data_step(project: Project) -> str:
    call = project.call("data")
    return call.label if call else "the data step"


def federated(adapter: ModelAdapter) -> Tensors:
    """The tensors that travel."""
    tensors = adapter.get_tensors()
    return {spec.name: tensors[spec.name] for spec in adapter.contract.federated}


def _part_of(split: DataSplit, batch_size: int) -> tuple[Any, float]:
    """Some batches of the training data, evenly spread, and which share of it they are."""
    wanted = min(split.examples, BATCHES * batch_size)
    indices = np.linspace(0, split.examples - 1, wanted).round().astype(np.int64)
    try:
        return take(split.train, np.unique(indices)), wanted / split.examples
    except (FedOpsError, TypeError, ValueError, IndexError, KeyError):
        return split.train, 1.0


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def _check_update(
    before: Mapping[str, Any], after: Mapping[str, Any], update: Mapping[str, Any], examples: int
) -> None:
    if examples < 1:
        raise Invalid("training counted no example, so the update would have no weight")
    for name, array in update.items():
        wide = array.astype(np.float64) if is_floating(array.dtype.name) else None
        if wide is not None and not np.isfinite(wide).all():
            raise Invalid(f"training made '{name}' infinite or NaN: is the learning rate too high?")
    if all(array.tobytes() == before[name].tobytes() for name, array in update.items()):
        moved = [name for name in after if after[name].tobytes() != before[name].tobytes()]
        only = f"; it changed only '{moved[0]}', which stays local" if moved else ""
        raise Invalid(
            "training changed no tensor that travels: does the train step train the model it is given, and "
            f"not one of its own?{only}"
        )


def _check_unchanged(after: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    for name, array in before.items():
        if after[name].tobytes() != array.tobytes():
            raise Invalid(f"evaluating changed '{name}'")


def _helped(message: str) -> str:
    """What is known to help, added."""
    if "No module named 'tensorflow'" in message:
        return f"{message}\n  Keras looks for TensorFlow; to use another backend set KERAS_BACKEND=torch"
    return message


def main(app_dir: str, answer: str, further: Further | None = None) -> None:
    """Examine the app, and write the report as JSON into the file ``answer``."""
    die_with_parent()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    sys.argv = sys.argv[:1]  # a project that reads its command line when imported finds it empty
    file = Path(answer).resolve()  # the app may have a folder that it works in
    progress = file.with_name(PROGRESS)

    def say(line: str) -> None:
        with progress.open("a", encoding="utf-8") as lines:
            lines.write(" ".join(line.split()) + "\n")

    def stop(report: dict[str, Any]) -> None:
        file.write_text(json.dumps(report), encoding="utf-8")
        os._exit(0)

    report = Examination(Path(app_dir), further or Further(), say, stop).run()
    file.write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
