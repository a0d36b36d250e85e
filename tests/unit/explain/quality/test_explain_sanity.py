from __future__ import annotations

import numpy as np
import pytest
import torch
from explain_nets import cnn, in_place, pictures

from fedops.explain.methods import registry
from fedops.explain.methods.base import FloatArray, Job
from fedops.explain.methods.gradients import Saliency
from fedops.explain.quality import map_quality


def test_a_map_of_the_picture_alone_does_not_pass() -> None:
    inputs = pictures(4)[:, 0].numpy()
    scores = map_quality.cascade(cnn(), lambda: inputs, inputs, [1, 2], every_layer=True)
    assert np.allclose(scores, 1.0)
    assert scores[-1] > map_quality.SANE


def test_noise_passes() -> None:
    rng = np.random.default_rng(0)

    def noise() -> FloatArray:
        return rng.normal(size=(8, 20, 20)).astype(np.float32)

    assert map_quality.cascade(cnn(), noise, noise(), [1, 2, 3], every_layer=False)[-1] < 0.05


def test_a_gradient_depends_on_every_layer() -> None:
    model, inputs = cnn(), pictures(4)
    job = Job(model, inputs, torch.arange(4), torch.zeros(1, 1, 1, 1), model.conv2)

    def explain() -> FloatArray:
        return Saliency().explain(job).values.numpy()

    scores = map_quality.cascade(model, explain, explain(), [1, 2], every_layer=True)
    assert len(scores) == 4
    assert scores[0] < 1.0


def test_weights_come_back_and_the_random_state_is_not_touched() -> None:
    model = in_place()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    randomness = torch.get_rng_state()
    maps = np.ones((1, 2, 2), np.float32)
    seen: list[float] = []

    def explain() -> FloatArray:
        seen.append(float(model.head.weight.detach().sum()))
        return maps

    map_quality.cascade(model, explain, maps, [1], every_layer=True)
    assert seen[0] == pytest.approx(float(before["head.weight"].sum())), "after the unused layer"
    assert seen[1] != seen[0]
    assert seen[1:] == [seen[1]] * 4, "every layer loses its weights once"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), randomness)


def test_a_normalisation_keeps_a_positive_scale() -> None:
    model = in_place()
    with map_quality.restored(model):
        map_quality.randomise(model.features[1], torch.Generator().manual_seed(0))
        assert model.features[1].weight.min() >= 0


def test_every_method_for_images_can_be_asked_roughly() -> None:
    model = in_place()
    for name in registry.BUILT_IN:
        job = Job(
            model,
            pictures(1, side=16),
            torch.tensor([0]),
            torch.zeros(1, 1, 1, 1),
            model.features[3],
            rough=True,
        )
        assert torch.isfinite(registry.make(name).explain(job).values).all()
