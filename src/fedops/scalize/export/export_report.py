"""What an export is asked and what came of it: the files between ``fedops model export`` and its process."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Format = Literal["onnx", "torchscript"]


class ExportQuestion(BaseModel):
    """Which model is exported into which file."""

    app_dir: str
    #: A safetensors file: a global model version.
    weights: str
    format: Format
    out: str
    #: Of a random batch, which stands for the app's data. Empty: the app's data is used.
    input_shape: list[int] = Field(default=[], max_length=8)
    overrides: list[str] = []


class ExportReport(BaseModel):
    """``ok``: the file was written, and its outputs are the model's."""

    ok: bool = False
    path: str = ""
    framework: str = ""
    #: Which program ran the exported file.
    checked_with: str = ""
    #: How many examples it was compared on, and where they are from.
    examples: int = 0
    data: str = ""
    #: Names, types and shapes of the inputs, as whoever uses the file has to know them.
    inputs: list[str] = []
    outputs: list[str] = []
    #: The largest difference of an output from the model's own.
    max_difference: float | None = None
    size: int = 0
    problems: list[str] = []
    notes: list[str] = []
