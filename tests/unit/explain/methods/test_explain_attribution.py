"""Integrated Gradients, Saliency, SmoothGrad, Occlusion and KernelSHAP against known answers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from explain_nets import Linear, cnn, pictures
from torch import Tensor

from fedops.explain.methods import gradients, perturbation, registry
from fedops.explain.methods.base import Job

WEIGHTS = [4.0, 3.0, 2.0, 1.0]


def linear_job(seed: int = 0) -> Job:
    """f = 4 x1 + 3 x2 + 2 x3 + x4 at x = 1, against 0."""
    return Job(
        Linear(WEIGHTS, (2, 2)),
        torch.ones(1, 1, 2, 2),
        torch.tensor([1]),
        torch.zeros(1, 1, 1, 1),
        seed=seed,
    )


@pytest.mark.parametrize(
    "name", ["integrated_gradients", "kernelshap", "saliency", "smoothgrad", "occlusion"]
)
def test_a_linear_model_is_explained_by_its_weights(name: str) -> None:
    found = registry.make(name).explain(linear_job()).values[0].flatten()
    torch.testing.assert_close(found, torch.tensor(WEIGHTS), atol=1e-4, rtol=0)


def test_integrated_gradients_are_complete() -> None:
    model, inputs, targets = cnn(), pictures(4), torch.arange(4)
    absent = torch.full((1, 1, 1, 1), -0.4)
    maps = registry.make("integrated_gradients").explain(Job(model, inputs, targets, absent))
    with torch.no_grad():
        gain = model(inputs) - model(absent.expand_as(inputs))
    gain = gain.gather(1, targets[:, None])[:, 0]
    assert (maps.values.sum((1, 2)) - gain).abs().max() <= 1e-3
    assert maps.completeness is not None
    assert maps.completeness.max() <= 1e-3


def test_what_is_missing_to_completeness_is_reported() -> None:
    class Step(torch.nn.Module):
        """A jump that no gradient sees."""

        def forward(self, x: Tensor) -> Tensor:
            score = (x.sum((1, 2, 3)) > 1).float() * 3 + x.sum((1, 2, 3)) * 0
            return torch.stack([-score, score], 1)

    job = Job(Step(), torch.ones(1, 1, 2, 2), torch.tensor([1]), torch.zeros(1, 1, 1, 1))
    method = gradients.IntegratedGradients(steps=8, most_steps=16)
    completeness = method.explain(job).completeness
    assert completeness is not None
    assert float(completeness[0]) == pytest.approx(1.0)


def test_kernelshap_gives_shapley_values() -> None:
    """All coalitions of three players, against the sum over orders."""
    values = {0: 0.10, 1: 0.60, 2: 0.50, 4: 0.10, 3: 0.80, 5: 0.60, 6: 0.40, 7: 0.75}

    def value(some: Tensor) -> Tensor:
        keys = (some * torch.tensor([1.0, 2.0, 4.0])).sum(1).int()
        return torch.tensor([values[int(key)] for key in keys])

    # each size drawn as often as the kernel says, which for three players is evenly
    drawn = torch.tensor(
        [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 1.0, 0], [1.0, 0, 1.0], [0, 1.0, 1.0]]
    )
    found = perturbation.shapley(value, drawn, 2)
    torch.testing.assert_close(found, torch.tensor([5 / 12, 4 / 15, -1 / 30]), atol=1e-6, rtol=0)


def test_sampled_kernelshap_comes_near_and_sums_up() -> None:
    model = cnn(3)
    inputs, target = pictures(1, seed=4), 2

    def value(some: Tensor) -> Tensor:
        mask = some.view(-1, 1, 2, 2).repeat_interleave(14, 2).repeat_interleave(14, 3)
        with torch.no_grad():
            return model(inputs * mask)[:, target] * 10

    players = 4
    exact = torch.zeros(players)
    for size in range(players):
        weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
        for chosen in itertools.combinations(range(players), size):
            base = torch.zeros(players)
            base[list(chosen)] = 1
            for player in set(range(players)) - set(chosen):
                more = base.clone()
                more[player] = 1
                pair = value(torch.stack([base, more]))
                exact[player] += weight * (pair[1] - pair[0])
    drawn = perturbation.coalitions(players, 200, torch.Generator().manual_seed(1))
    found = perturbation.shapley(value, drawn, 64)
    assert float(found.sum()) == pytest.approx(float(exact.sum()), abs=1e-4)
    assert (found - exact).abs().max() < 0.1 * exact.abs().max()


def test_coalitions_come_with_their_complements_and_are_never_trivial() -> None:
    drawn = perturbation.coalitions(6, 101, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[0::2] + drawn[1::2], torch.ones(51, 6))
    assert set(drawn.sum(1).tolist()) <= {1.0, 2.0, 3.0, 4.0, 5.0}


def test_occlusion_finds_the_only_pixel_that_counts() -> None:
    weights = [0.0] * 196
    weights[5 * 14 + 9] = 2.0
    job = Job(
        Linear(weights, (14, 14)),
        torch.ones(1, 1, 14, 14),
        torch.tensor([1]),
        torch.zeros(1, 1, 1, 1),
    )
    found = registry.make("occlusion").explain(job).values[0]
    assert float(found[5, 9]) == found.max() > 0
    assert float(found[:3].abs().max()) == 0


def test_a_negative_class_gets_the_opposite_sign() -> None:
    job = linear_job()
    other = Job(job.model, job.inputs, torch.tensor([0]), job.absent)
    found = registry.make("integrated_gradients").explain(other).values
    assert found.abs().max() == 0, "class 0 of this model has the score 0 everywhere"
