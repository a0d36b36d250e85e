from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from explain_nets import InPlace, in_place, pictures

from fedops.explain.methods import instrumented_model, registry
from fedops.explain.methods.base import Job


def state_of(model: torch.nn.Module) -> dict[str, object]:
    hooks = {
        name: [
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            len(module._backward_hooks),
        ]
        for name, module in model.named_modules()
    }
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "hooks": hooks,
        "wanted": {name: p.requires_grad for name, p in model.named_parameters()},
        "grads": {
            name: None if p.grad is None else p.grad.tolist()
            for name, p in model.named_parameters()
        },
        "values": {name: value.tolist() for name, value in model.state_dict().items()},
    }


def busy_model() -> InPlace:
    """In the middle of training: mixed modes, gradients, a frozen layer."""
    model = in_place().train()
    model.features[1].eval()
    model(pictures(4)).sum().backward()
    model.head.bias.requires_grad_(False)
    return model


@pytest.mark.parametrize("name", list(registry.BUILT_IN))
def test_a_method_leaves_the_model_and_the_random_state_alone(name: str) -> None:
    model = busy_model()
    before = state_of(model)
    randomness = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with instrumented_model.kept(model):
        assert not any(module.training for module in model.modules())
        registry.make(name).explain(
            Job(
                model,
                pictures(2, side=16),
                torch.tensor([0, 2]),
                torch.zeros(1, 1, 1, 1),
                model.features[3],
            )
        )
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), randomness[0])
    assert np.random.get_state()[1].tolist() == randomness[1]
    assert random.getstate() == randomness[2]


def test_it_is_restored_after_an_error() -> None:
    model = busy_model()
    before = state_of(model)

    def fail_inside() -> None:
        with instrumented_model.kept(model), instrumented_model.kept_randomness():
            torch.rand(3), np.random.rand(3), random.random()
            model.features[1].running_mean.add_(1)
            raise ValueError("anything")

    randomness = torch.get_rng_state()
    with pytest.raises(ValueError, match="anything"):
        fail_inside()
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), randomness)


@pytest.mark.parametrize("name", list(registry.BUILT_IN))
def test_the_same_seed_gives_the_same_map(name: str) -> None:
    model = in_place()
    job = Job(
        model,
        pictures(2, side=16),
        torch.tensor([0, 2]),
        torch.zeros(1, 1, 1, 1),
        model.features[3],
    )
    first, second = (registry.make(name).explain(job).values for _ in range(2))
    assert torch.equal(first, second)
