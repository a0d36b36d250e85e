from __future__ import annotations

import pytest
import torch
from explain_nets import NoConvolution, cnn, in_place, pictures
from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.explain.methods import target_layer


@pytest.mark.parametrize(
    ("index", "name"), [(1, "conv2"), (-1, "conv2"), (0, "conv1"), (-2, "conv1")]
)
def test_the_index_counts_convolutions_as_python_does(index: int, name: str) -> None:
    assert target_layer.resolve(cnn(), pictures(1), "auto", index)[0] == name


def test_a_name_wins_over_the_index() -> None:
    model = cnn()
    name, module = target_layer.resolve(model, pictures(1), "conv1", -1)
    assert (name, module) == ("conv1", model.conv1)


@pytest.mark.parametrize("index", [2, -3])
def test_an_index_out_of_range_names_the_range(index: int) -> None:
    with pytest.raises(Invalid, match=r"2 convolutions .*'conv1', 'conv2'.*give -2 to 1"):
        target_layer.resolve(cnn(), pictures(1), "auto", index)


def test_a_misspelt_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(
        Invalid, match=r"no layer 'convv2'; did you mean 'conv2'\?.*convolutions: 'conv1', 'conv2'"
    ):
        target_layer.resolve(cnn(), pictures(1), "convv2", -1)


def test_a_layer_without_a_spatial_map() -> None:
    with pytest.raises(Invalid, match=r"'fc1' \(Linear\) has no spatial map.*\[1, 64\].*'conv2'"):
        target_layer.resolve(cnn(), pictures(1), "fc1", -1)


def test_a_layer_that_the_forward_pass_leaves_out() -> None:
    with pytest.raises(
        Invalid, match=r"'unused' takes no part in the model's forward pass.*'features.3'"
    ):
        target_layer.resolve(in_place(), pictures(1), "unused", -1)


def test_an_unused_convolution_does_not_count() -> None:
    assert target_layer.resolve(in_place(), pictures(1), "auto", -1)[0] == "features.3"


def test_other_layers_with_a_map_may_be_named() -> None:
    assert target_layer.resolve(in_place(), pictures(1), "features.4", -1)[0] == "features.4"


def test_a_model_without_convolutions_is_told_what_else_there_is() -> None:
    with pytest.raises(Invalid, match=r"no convolution.*'integrated_gradients'.*'permutation'"):
        target_layer.resolve(NoConvolution(), pictures(1), "auto", -1)
    with pytest.raises(Invalid, match=r"No layer of this model has a spatial map.*'occlusion'"):
        target_layer.resolve(NoConvolution(), pictures(1), "conv2", -1)


class Aside(nn.Module):
    """Runs a convolution whose result nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Conv2d(1, 2, 3)
        self.aside = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.aside(x)
        return self.used(x).mean((2, 3))


def test_a_layer_that_the_scores_do_not_depend_on() -> None:
    with pytest.raises(Invalid, match=r"'aside' cannot be explained: .*do not depend"):
        target_layer.resolve(Aside(), pictures(1), "aside", -1)


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.conv(x).mean((2, 3))


def test_a_forward_pass_without_gradients() -> None:
    with pytest.raises(Invalid, match="not depend on this layer in a differentiable way"):
        target_layer.resolve(Detached(), pictures(1), "auto", -1)


def test_the_order_is_that_of_the_pass() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.Conv2d(2, 2, 3)
            self.first = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x)).mean((2, 3))

    assert target_layer.resolve(Crossed(), pictures(1), "auto", -1)[0] == "second"


def test_nothing_is_left_on_the_model() -> None:
    model = cnn().train()
    target_layer.resolve(model, pictures(1), "auto", -1)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
