from __future__ import annotations

import captum.attr
import pytest
import torch
from explain_nets import cnn, in_place, pictures
from torch import Tensor
from torch.nn import functional

from fedops.explain.methods import cam, instrumented_model, registry
from fedops.explain.methods.base import Job

A = torch.tensor([[[[1.0, 0], [0, 2]], [[0.0, 1], [1, 0]]]])
G = torch.tensor([[[[2.0, 0], [0, -1]], [[-1.0, 1], [1, 3]]]])
#: By hand from the definitions, before the positive part is taken.
BY_HAND = {
    "gradcam": [[0.25, 1], [1, 0.5]],
    "hirescam": [[2, 1], [1, -2]],
    "layercam": [[2, 1], [1, 0]],
    "elementwise": [[2, 1], [1, 0]],
    "xgradcam": [[0, 1], [1, 0]],
    "gradcam++": [[0.25, 0.875], [0.875, 0.5]],
}


@pytest.mark.parametrize("name", list(BY_HAND))
def test_maps_follow_their_definitions(name: str) -> None:
    torch.testing.assert_close(cam.CAMS[name](A, G)[0], torch.tensor(BY_HAND[name]).float())


def test_weights_of_gradcam_plus_plus_by_hand() -> None:
    # channel 1: alpha(2) = 4 / (8 + 3 * 8), times 2; channel 2: 2 * 1/4 + 9 / (18 + 2 * 27) * 3
    single = torch.eye(2)
    weights = [float((cam.gradcam_plus_plus(A, G)[0] * single).sum()) / 3, 0.875]
    assert weights[0] == pytest.approx(0.25)
    assert float(cam.gradcam_plus_plus(A, G)[0, 0, 1]) == pytest.approx(weights[1])


@pytest.mark.parametrize("name", list(cam.CAMS))
def test_no_gradient_and_no_activation_give_zeros(name: str) -> None:
    nothing = torch.zeros(1, 2, 2, 2)
    for a, g in ((A, nothing), (nothing, G), (nothing, nothing)):
        assert torch.equal(cam.CAMS[name](a, g), torch.zeros(1, 2, 2))


def job(model: torch.nn.Module, inputs: Tensor, layer: str, targets: Tensor | None = None) -> Job:
    targets = targets if targets is not None else torch.arange(len(inputs)) % 3
    return Job(model, inputs, targets, torch.zeros(1, 1, 1, 1), model.get_submodule(layer))


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_gradcam_is_that_of_captum(layer: str) -> None:
    model, inputs, targets = cnn(), pictures(6), torch.arange(6)
    ours = registry.make("gradcam").explain(job(model, inputs, layer, targets)).values
    theirs = captum.attr.LayerGradCam(model, model.get_submodule(layer)).attribute(
        inputs, target=targets, relu_attributions=True
    )
    assert ours.abs().max() > 0
    torch.testing.assert_close(ours, theirs[:, 0].detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [*cam.CAMS, "scorecam"])
def test_a_batch_is_its_samples_one_by_one(name: str) -> None:
    model, inputs = cnn(1), pictures(3)
    method = registry.make(name)
    together = method.explain(job(model, inputs, "conv2")).values
    for row in range(3):
        targets = torch.tensor([row % 3])
        alone = method.explain(job(model, inputs[row : row + 1], "conv2", targets)).values
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-4)


def test_an_operation_in_place_after_the_layer_changes_nothing() -> None:
    model, inputs = in_place(), pictures(3)
    # the same model whose activations are not overwritten
    before = registry.make("gradcam").explain(job(model, inputs, "features.3")).values
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    after = registry.make("gradcam").explain(job(model, inputs, "features.3")).values
    assert torch.equal(before, after)
    a, _ = instrumented_model.activations_and_gradients(
        model, model.features[3], inputs, torch.zeros(3, dtype=torch.long)
    )
    assert a.min() < 0, "the layer's own output, not that of the ReLU after it"


def test_a_frozen_layer_is_explained_like_any_other() -> None:
    model, inputs = cnn(), pictures(3)
    before = registry.make("gradcam").explain(job(model, inputs, "conv2")).values
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    after = registry.make("gradcam").explain(job(model, inputs, "conv2")).values
    assert after.abs().max() > 0
    assert torch.equal(before, after)


def test_it_works_where_gradients_are_switched_off() -> None:
    model, inputs = cnn(), pictures(2)
    with torch.no_grad():
        maps = registry.make("gradcam").explain(job(model, inputs, "conv2")).values
    assert maps.abs().max() > 0


def test_scorecam_weighs_channels_by_the_masked_scores() -> None:
    model, inputs, targets = cnn(2), pictures(1), torch.tensor([4])
    with torch.no_grad():
        a = functional.conv2d(
            functional.max_pool2d(functional.relu(model.conv1(inputs)), 2),
            model.conv2.weight,
            model.conv2.bias,
            padding=1,
        )
        large = functional.interpolate(a, size=(28, 28), mode="bilinear", align_corners=False)
        scores = []
        for channel in range(32):
            mask = large[0, channel]
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            scores.append(model(inputs * mask)[0, 4])
        weights = torch.softmax(torch.stack(scores), 0)
        expected = functional.relu((weights[:, None, None] * a[0]).sum(0))
    found = registry.make("scorecam").explain(job(model, inputs, "conv2", targets)).values[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
