"""Grad-CAM and other explanations of the MNIST model, from your own code.

Beside the rounds, FedOps makes them by itself, as `[xai]` in conf/config.toml says; a stored model is
explained by `fedops explain`. This is for a notebook or a script: a model in memory and some images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from fedops.app import Explainer, ExplainReport
from fedops.app import ExplainOptions as Options


def explain(
    model: nn.Module,
    data: Any,
    output_dir: Path | str = "outputs/gradcam",
    *,
    layer: str = "conv2",
    target_layer_index: int = -1,
    methods: tuple[str, ...] = ("gradcam",),
    samples: int = 16,
    seed: int = 42,
) -> ExplainReport:
    """Explain some test images (a data set, or a pair of arrays) and write pictures and report.

    `layer` is a name in models.py, or "auto" for the convolution that `target_layer_index` counts: -1 is the
    last. The model is left as it was. A layer that does not exist is refused, with those that do.
    """
    options = Options(
        layer=layer,
        target_layer_index=target_layer_index,
        methods=methods,
        samples=samples,
        seed=seed,
        max_seconds=600.0,
    )
    names = [str(digit) for digit in range(10)]
    explainer = Explainer.open(model, options, data, seed=seed, names=names)
    return explainer.run(model, out_dir=Path(output_dir), full=True)
