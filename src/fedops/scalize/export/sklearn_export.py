"""scikit-learn models to ONNX, by skl2onnx: what it predicts, and probabilities if it gives any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import Invalid
from fedops.scalize.export.comparing import described, largest_difference
from fedops.scalize.export.export_report import ExportReport
from fedops.scalize.export.onnx_files import OnnxFile, require_onnx


def write_sklearn(model: Any, x: npt.NDArray[Any], path: Path, report: ExportReport) -> None:
    """Write the file and fill in the report. ``x``: a batch of inputs.

    Raises:
        Invalid: skl2onnx does not know it, or the file does not say what the model says.
    """
    require_onnx("skl2onnx")
    from skl2onnx import to_onnx

    inputs = np.ascontiguousarray(x, dtype=np.float32)
    classifies = hasattr(model, "classes_")
    options = {id(model): {"zipmap": False}} if classifies else None
    try:
        made = to_onnx(model, inputs[:1], options=options)
    except Exception as error:  # a converter may raise anything about a model that it does not know
        first = str(error).strip().partition("\n")[0][:400]
        raise Invalid(f"skl2onnx cannot export this model: {first}") from None
    path.write_bytes(made.SerializeToString())
    file = OnnxFile(path)
    own = {file.outputs[0]: np.asarray(model.predict(inputs)).reshape(-1)}
    if classifies and hasattr(model, "predict_proba"):
        own[file.outputs[1]] = np.asarray(model.predict_proba(inputs))
    there = [
        one.reshape(own_.shape) for one, own_ in zip(_run(file, inputs), own.values(), strict=False)
    ]
    report.checked_with = file.runner
    report.inputs = described({file.inputs[0]: inputs})
    report.outputs = described(own)
    report.max_difference = largest_difference(list(own.values()), there, list(own))


def _run(file: OnnxFile, inputs: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return file.run({file.inputs[0]: inputs})
