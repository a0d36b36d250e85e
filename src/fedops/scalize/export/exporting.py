"""An export: the app's model with a version's tensors, a batch of inputs, and a file that is checked."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedops.core.contracts import ExchangeRule
from fedops.core.errors import FedOpsError, Invalid
from fedops.core.suggestions import comma_list
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.scalize.export.export_report import ExportQuestion, ExportReport
from fedops.scalize.flow.datasets import is_pair
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.target_import import import_advice
from fedops.storage.tensors import Tensors, load

#: How many examples are compared.
EXAMPLES = 16
_LABELS = ("label", "labels", "y", "target", "targets", "fine_label")
_WORKS = (
    "--format onnx takes PyTorch, Transformers, scikit-learn, and Keras with KERAS_BACKEND=torch"
)
_OF_A_COMMAND = (
    "the model of an app that is trained by its own command cannot be exported here: only the command makes"
    " it; load the version into it with safetensors.torch.load_model and export it in the script's own way"
)


class Export:
    """One export. What is wrong is a problem in the report, and nothing is left at the place of the file."""

    def __init__(self, question: ExportQuestion) -> None:
        self._asked = question
        self.report = ExportReport()

    def run(self) -> ExportReport:
        """Write the file, unless something is wrong."""
        out = Path(self._asked.out).resolve()
        aside = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            self._write(aside)
            self.report.size = aside.stat().st_size
            os.replace(aside, out)
            self.report.path, self.report.ok = str(out), True
        except FedOpsError as error:
            self.report.problems.append(error.message)
        except (Exception, SystemExit) as error:  # an app may raise anything, or end the process
            folder = Path(self._asked.app_dir)
            self.report.problems.append(
                f"the export failed: {import_advice(error, [folder, folder.parent])}"
            )
        finally:
            aside.unlink(missing_ok=True)
        return self.report

    def _write(self, path: Path) -> None:
        weights = load(Path(self._asked.weights).resolve())
        project = Project.open(Path(self._asked.app_dir), self._asked.overrides)
        if project.config.script is not None:
            raise Invalid(_OF_A_COMMAND)
        adapter = project.make_adapter(project.config.random_seed)
        self._fill(adapter, weights)
        x = self._inputs(project)
        model = getattr(adapter, "model", None)
        if _is_torch(model):
            self._torch(model, x, path)
        elif _is_sklearn(model):
            self._sklearn(model, x, path)
        else:
            self.report.framework = type(adapter).__name__.removesuffix("Adapter")
            raise Invalid(f"a model of {self.report.framework} cannot be exported here: {_WORKS}")

    def _fill(self, adapter: ModelAdapter, weights: Tensors) -> None:
        """Put the version's tensors into the model."""
        specs = adapter.contract.parameters
        missing = [spec for spec in specs if spec.name not in weights]
        if gone := [spec.name for spec in missing if spec.rule is not ExchangeRule.LOCAL]:
            raise Invalid(
                f"the version does not hold this app's model: it lacks {comma_list(gone[:5])}; give the --app"
                " that it was trained with"
            )
        adapter.set_tensors(weights)
        if missing:
            names = comma_list([spec.name for spec in missing][:5])
            self.report.notes.append(
                f"as the model step makes them, since they stay local: {names}"
            )

    # --- inputs ----------------------------------------------------------------------------------

    def _inputs(self, project: Project) -> Any:
        """A batch: arrays, tensors, or a mapping of them."""
        if shape := self._asked.input_shape:
            self.report.examples, self.report.data = shape[0], "random numbers"
            return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        data = project.load_data()
        held_out = data.validation if data.validation is not None else data.train
        self.report.data = (
            "the app's validation data" if data.validation is not None else "the app's data"
        )
        batch = _first_of(held_out)
        size = len(next(iter(batch.values()))) if isinstance(batch, Mapping) else len(batch)
        self.report.examples = int(size)
        return batch

    # --- frameworks ------------------------------------------------------------------------------

    def _torch(self, model: Any, x: Any, path: Path) -> None:
        import torch

        from fedops.scalize.export.torch_export import TorchExport

        self.report.framework = f"torch {torch.__version__}"
        given = x if isinstance(x, Mapping) else {"input": x}
        named = len(given) > 1 or _takes(model.forward, next(iter(given)))
        tensors = {name: _tensor(value, torch) for name, value in given.items()}
        TorchExport(model, tensors, named=named).write(self._asked.format, path, self.report)

    def _sklearn(self, model: Any, x: Any, path: Path) -> None:
        import sklearn

        from fedops.scalize.export.sklearn_export import write_sklearn

        self.report.framework = f"scikit-learn {sklearn.__version__}"
        if self._asked.format != "onnx":
            raise Invalid("scikit-learn has no TorchScript: use --format onnx")
        write_sklearn(model, np.asarray(x), path, self.report)


def _takes(function: Any, name: str) -> bool:
    return name in inspect.signature(function).parameters


def _is_torch(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _is_sklearn(model: Any) -> bool:
    return type(model).__module__.startswith("sklearn.")


def _tensor(value: Any, torch: Any) -> Any:
    found = value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
    return found.float() if found.dtype == torch.float64 else found  # as the default loop does


def _first_of(data: Any) -> Any:
    """The inputs of the first examples, without their labels."""
    if hasattr(data, "batch_sampler") or hasattr(data, "collate_fn"):  # a loader
        return _without_labels(_cut(next(iter(data))))
    if is_pair(data):
        x = data[0]
        if isinstance(x, list | tuple):
            raise Invalid("a model with several unnamed inputs cannot be exported yet")
        return _cut(x)
    if isinstance(data, Mapping) or hasattr(data, "iloc"):
        return _without_labels(_cut(data))
    return _without_labels(_stacked([data[i] for i in range(min(EXAMPLES, len(data)))]))


def _cut(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return {name: value[:EXAMPLES] for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(value[:EXAMPLES] for value in batch)
    return batch[:EXAMPLES]


def _stacked(examples: list[Any]) -> Any:
    first = examples[0]
    if isinstance(first, Mapping):
        return {name: np.stack([np.asarray(one[name]) for one in examples]) for name in first}
    if isinstance(first, tuple | list):
        return tuple(np.stack([np.asarray(one[i]) for one in examples]) for i in range(len(first)))
    return np.stack([np.asarray(one) for one in examples])


def _without_labels(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return {name: value for name, value in batch.items() if name not in _LABELS}
    return batch[0] if isinstance(batch, tuple | list) else batch
