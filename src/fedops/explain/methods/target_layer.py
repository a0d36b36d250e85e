"""Which layer a class activation map is taken from, decided by a trial pass before any training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.explain.methods import instrumented_model

ADVICE = (
    "choose methods that need no convolution: 'integrated_gradients', 'saliency', 'occlusion' or "
    "'kernelshap' for images, 'permutation' or 'shap' for tables"
)


def resolve(model: nn.Module, sample: Tensor, layer: str, index: int) -> tuple[str, nn.Module]:
    """The layer's name and module. A name other than "auto" wins over the index.

    ``index`` counts, as Python does, the convolutions that have a spatial map, in the order in which
    the forward pass comes to them.

    Raises:
        Invalid: there is no such layer, or it has no spatial map, or the forward pass leaves it out.
    """
    seen = _trial(model, sample)
    convolutions = [name for name, out in seen.items() if _is_map(out) and _is_conv(model, name)]
    if layer != "auto":
        name = _named(model, seen, layer, convolutions)
    elif not convolutions:
        raise Invalid(f"the model has no convolution with a spatial map; {ADVICE}")
    elif not -len(convolutions) <= index < len(convolutions):
        raise Invalid(
            f"xai.target_layer_index = {index}, but the model has {_count(convolutions)}; "
            f"give {-len(convolutions)} to {len(convolutions) - 1}, or a name as xai.layer"
        )
    else:
        name = convolutions[index]
    return name, _checked(model, name, sample)


def _named(model: nn.Module, seen: dict[str, Any], layer: str, convolutions: list[str]) -> str:
    mapped = [name for name, output in seen.items() if _is_map(output)]
    eligible = _eligible(mapped, convolutions)
    modules = dict(model.named_modules())
    if not layer or layer not in modules:
        guess = did_you_mean(layer, mapped)
        rest = eligible.removeprefix(".") if guess else eligible
        raise Invalid(f"the model has no layer '{layer}'{guess}{rest}")
    if layer not in seen:
        raise Invalid(f"layer '{layer}' takes no part in the model's forward pass{eligible}")
    if not _is_map(seen[layer]):
        raise Invalid(
            f"layer '{layer}' ({type(modules[layer]).__name__}) has no spatial map: "
            f"its output is {_describe(seen[layer])}{eligible}"
        )
    return layer


def _eligible(mapped: list[str], convolutions: list[str]) -> str:
    if not mapped:
        return f". No layer of this model has a spatial map; {ADVICE}"
    others = [name for name in mapped if name not in convolutions]
    line = f". Eligible convolutions: {comma_list(convolutions) or 'none'}"
    return f"{line}; other layers with a map: {comma_list(others)}" if others else line


def _checked(model: nn.Module, name: str, sample: Tensor) -> nn.Module:
    """The module, after seeing that a gradient reaches it."""
    module = model.get_submodule(name)
    target = torch.zeros(1, dtype=torch.long, device=sample.device)
    try:
        with instrumented_model.kept(model):
            instrumented_model.activations_and_gradients(model, module, sample, target)
    except Invalid as error:
        raise Invalid(f"layer '{name}' cannot be explained: {error}") from None
    return module


def _trial(model: nn.Module, sample: Tensor) -> dict[str, Any]:
    """What every layer gives in one pass, in the order of the pass (a repeated layer: its last)."""
    seen: dict[str, Any] = {}
    with instrumented_model.kept(model), _recorded(model, seen), torch.no_grad():
        model(sample)
    return seen


@contextmanager
def _recorded(model: nn.Module, seen: dict[str, Any]) -> Iterator[None]:
    handles = [
        module.register_forward_hook(_recorder(name, seen))
        for name, module in model.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _recorder(name: str, seen: dict[str, Any]) -> Any:
    def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen.pop(name, None)
        seen[name] = output

    return record


def _is_map(output: Any) -> bool:
    if not isinstance(output, Tensor) or output.ndim != 4 or not output.is_floating_point():
        return False
    return output.shape[-1] * output.shape[-2] > 1


def _is_conv(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name), nn.Conv2d)


def _describe(output: Any) -> str:
    return str(list(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def _count(names: list[str]) -> str:
    what = "convolution" if len(names) == 1 else "convolutions"
    return f"{len(names)} {what} with a spatial map ({comma_list(names)})"
