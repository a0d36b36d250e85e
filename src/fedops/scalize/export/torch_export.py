"""PyTorch modules, and what is one too: Transformers, and Keras on the backend torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedops.core.errors import Invalid
from fedops.scalize.export.comparing import described, largest_difference
from fedops.scalize.export.export_report import ExportReport
from fedops.scalize.export.onnx_files import OnnxFile, require_onnx

Inputs = Mapping[str, torch.Tensor]


class Plain(nn.Module):
    """The model with tensors in and tensors out, whatever it is called with and gives."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self._names = names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Its outputs. One that has ``logits`` gives these alone."""
        if self._names:
            found = self.model(**dict(zip(self._names, tensors, strict=True)))
        else:
            found = self.model(*tensors)
        return _tensors(found)


def _tensors(found: Any) -> tuple[torch.Tensor, ...]:
    if isinstance(found, torch.Tensor):
        return (found,)
    logits = getattr(found, "logits", None)
    if isinstance(logits, torch.Tensor):
        return (logits,)
    values = found.values() if isinstance(found, Mapping) else found
    if not isinstance(values, Iterator) and not hasattr(values, "__iter__"):
        raise Invalid(f"the model gives a {type(found).__name__}; only tensors can be exported")
    kept = tuple(value for value in values if isinstance(value, torch.Tensor))
    if not kept:
        raise Invalid("the model gives no tensor that could be exported")
    return kept


class TorchExport:
    """One module on its way out. ``inputs``: a batch, by the names that the model takes them by."""

    def __init__(self, model: nn.Module, inputs: Inputs, *, named: bool) -> None:
        self._inputs = {name: value.detach().cpu() for name, value in inputs.items()}
        self._model = Plain(model.cpu().eval(), tuple(inputs) if named else ()).eval()
        self._arrays = {name: value.numpy() for name, value in self._inputs.items()}

    def write(self, kind: str, path: Path, report: ExportReport) -> None:
        """Write the file and fill in the report.

        Raises:
            Invalid: it cannot be exported so, or the file does not say what the model says.
        """
        with torch.no_grad():
            own = [one.numpy() for one in self._model(*self._inputs.values())]
            first = [one.numpy() for one in self._model(*(v[:1] for v in self._inputs.values()))]
        report.inputs = described(self._arrays)
        report.outputs = described(dict(zip(_names(own), own, strict=True)))
        write = self._onnx if kind == "onnx" else self._torchscript
        run = write(path, report)
        differences = [
            largest_difference(own, run(self._arrays), _names(own)),
            largest_difference(
                first, run({name: a[:1] for name, a in self._arrays.items()}), _names(own)
            ),
        ]
        report.max_difference = max(differences)

    def _onnx(self, path: Path, report: ExportReport) -> Any:
        require_onnx("onnxscript")
        batch = torch.export.Dim("batch", min=1, max=1 << 20)
        shapes = (tuple({0: batch} for _ in self._inputs),)
        outputs = _names(self._model(*self._inputs.values()))
        with _quiet():
            try:
                torch.onnx.export(
                    self._model,
                    tuple(self._inputs.values()),
                    str(path),
                    dynamo=True,
                    input_names=list(self._inputs),
                    output_names=outputs,
                    dynamic_shapes=shapes,
                    external_data=False,
                )
            except Exception as error:  # it runs the model, whose code may raise anything
                raise _cannot("ONNX", error) from None
        file = OnnxFile(path)
        report.checked_with = file.runner
        return file.run

    def _torchscript(self, path: Path, report: ExportReport) -> Any:
        with _quiet(), torch.no_grad():
            try:
                script: Any = torch.jit
                traced = script.trace(self._model, tuple(self._inputs.values()))
                script.save(traced, str(path))
                loaded = script.load(str(path))
            except Exception as error:  # it runs the model, whose code may raise anything
                raise _cannot("TorchScript", error) from None
        report.checked_with = f"torch.jit of torch {torch.__version__}"

        def run(arrays: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
            with torch.no_grad():
                return [np.asarray(one) for one in loaded(*map(torch.from_numpy, arrays.values()))]

        return run


def _names(outputs: Any) -> list[str]:
    return ["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))]


def _cannot(what: str, error: Exception) -> Invalid:
    first = str(error).strip().partition("\n")[0][:400]
    return Invalid(f"torch cannot export this model to {what}: {type(error).__name__}: {first}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of themselves."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
