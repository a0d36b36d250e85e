"""Running an ONNX file: by onnxruntime, else by the reference evaluator of the package ``onnx``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.errors import Invalid

Outputs = dict[str, npt.NDArray[Any]]
INSTALL = 'install what exports to ONNX: pip install "fedops[export]"'


class OnnxFile:
    """One file, ready to run. ``runner`` is who runs it."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            from onnx.reference import ReferenceEvaluator

            self._model, self.runner = ReferenceEvaluator(str(path)), "the evaluator of onnx"
            self.inputs, self.outputs = self._model.input_names, self._model.output_names
        else:
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            self._model, self.runner = session, f"onnxruntime {onnxruntime.__version__}"
            self.inputs = [one.name for one in session.get_inputs()]
            self.outputs = [one.name for one in session.get_outputs()]

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Its outputs for these inputs. ``Invalid``: it does not run."""
        try:
            return [np.asarray(one) for one in self._model.run(None, dict(inputs))]
        except Exception as error:  # both raise classes of their own, of no common base
            raise Invalid(f"the exported file does not run: {error}") from None


def require_onnx(*packages: str) -> None:
    """``Invalid``, with what to install, unless they can be imported."""
    import importlib

    for package in ("onnx", *packages):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise Invalid(f"{INSTALL} ({error})") from None
