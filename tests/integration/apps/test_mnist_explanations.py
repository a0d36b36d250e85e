"""The MNIST app's own model, trained on digits and explained from one's own code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedops.core.errors import Invalid
from fedops.explain.methods import registry
from fedops.explain.methods.base import Job
from fedops.explain.quality.history import Snapshot
from fedops.scalize.adapter.protocol import TrainContext
from fedops.scalize.flow.project import Project

APP = Path(__file__).parents[3] / "apps" / "mnist-xai"


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Any, Any]]:
    """The model after three epochs, and test data of the device."""
    path, threads = list(sys.path), torch.get_num_threads()
    torch.set_num_threads(1)
    project = Project.open(APP, ["dataset.name=digits"])
    adapter: Any = project.make_adapter(42)
    data = project.load_data()
    adapter.train(data.train, TrainContext(1, 1, 3, 32, 0.002))
    adapter.model.eval()
    yield adapter.model, data.validation
    torch.set_num_threads(threads)
    sys.path[:] = path


def batch(data: Any, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [data[number] for number in range(count)]
    return torch.stack([x for x, _ in pairs]), torch.tensor([int(y) for _, y in pairs])


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_gradcam_of_the_mnist_model_is_captums_to_1e_5(trained: Any, layer: str) -> None:
    model, data = trained
    inputs, targets = batch(data)
    black = inputs.amin((0, 2, 3), keepdim=True)
    job = Job(model, inputs, targets, black, model.get_submodule(layer))
    ours = registry.make("gradcam").explain(job).values
    theirs = captum.attr.LayerGradCam(model, model.get_submodule(layer)).attribute(
        inputs, target=targets, relu_attributions=True
    )
    assert ours.abs().max() > 0
    torch.testing.assert_close(ours, theirs[:, 0].detach(), atol=1e-5, rtol=1e-5)


def test_integrated_gradients_of_the_mnist_model_are_complete_to_1e_3(trained: Any) -> None:
    model, data = trained
    inputs, targets = batch(data)
    black = inputs.amin((0, 2, 3), keepdim=True)
    maps = registry.make("integrated_gradients").explain(Job(model, inputs, targets, black))
    with torch.no_grad():
        gain = (model(inputs) - model(black.expand_as(inputs))).gather(1, targets[:, None])[:, 0]
    missing = (maps.values.sum((1, 2)) - gain).abs() / gain.abs().clamp(min=1)
    assert missing.max() <= 1e-3


def test_the_heat_lies_on_the_strokes(trained: Any, tmp_path: Path) -> None:
    from fedopsmnist.xai_utils import explain

    model, data = trained
    report = explain(model, data, tmp_path)
    assert (tmp_path / report.sheets[0]).is_file()
    assert report.layer == "conv2"
    snapshot = Snapshot.load(tmp_path / "maps.npz")
    assert snapshot is not None
    heat = torch.from_numpy(snapshot.maps["global", "gradcam", "predicted"].values)[:, None]
    inputs = torch.stack([data[index][0] for index in snapshot.indices])
    ink = (inputs > inputs.amin()).float()
    near = F.max_pool2d(ink, 3, stride=1, padding=1)  # a layer's cell sees a little around it
    large = F.interpolate(heat, size=28, mode="bilinear", align_corners=False)
    on_strokes = float((large * near).sum() / large.sum())
    assert on_strokes > 0.75
    assert on_strokes > 1.3 * float(near.mean())
    scores = report.quality["global"]["gradcam"]
    assert scores["deletion"] < scores["deletion_random"]
    assert scores["insertion"] > scores["insertion_random"]


def test_a_wrong_layer_is_refused_with_the_ones_there_are(trained: Any, tmp_path: Path) -> None:
    from fedopsmnist.xai_utils import explain

    with pytest.raises(Invalid, match=r"did you mean 'conv2'\? Eligible convolutions: 'conv1'"):
        explain(*trained, tmp_path, layer="convv2")
    assert explain(*trained, tmp_path, layer="auto", samples=2).layer == "conv2"
    assert np.isfinite(explain(*trained, tmp_path, samples=2).seconds["total"])
