"""The PyTorch adapter: exact arrays and declared rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import load_model
from torch import nn
from torch_cases import Odd, bits, odd

from fedops.config.schema import Exchange, Resources
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.scalize.frameworks.pytorch import PyTorchAdapter
from fedops.storage.tensors import save


def test_the_contract_says_what_each_tensor_is() -> None:
    specs = {spec.name: spec for spec in odd().contract.parameters}
    assert specs["subnet.weight"].rule is specs["bnorm_head.bias"].rule is ExchangeRule.MEAN
    assert specs["norm.running_mean"].rule is ExchangeRule.MEAN
    assert specs["norm.num_batches_tracked"].rule is specs["mask"].rule is ExchangeRule.MAX
    assert specs["norm.weight"].trainable
    assert not specs["norm.running_var"].trainable
    assert (specs["frozen"].rule, specs["frozen"].trainable) == (ExchangeRule.MEAN, False)
    assert "tied.weight" not in specs  # travels once, as subnet.weight
    assert "tied.bias" in specs
    assert "cache" not in specs
    dtypes = {name: specs[name].dtype for name in ("sixteen", "brain", "eighth", "mask", "scale")}
    assert dtypes == {
        "sixteen": "float16",
        "brain": "bfloat16",
        "eighth": "float8_e4m3fn",
        "mask": "bool",
        "scale": "float32",
    }
    assert (specs["scale"].shape, specs["across"].shape) == ((), (4, 5))


def test_the_order_is_that_of_the_state_dict() -> None:
    model = Odd()
    names = [spec.name for spec in PyTorchAdapter(model).contract.parameters]
    assert names == [name for name in model.state_dict() if name != "tied.weight"]


def test_the_round_trip_is_exact() -> None:
    source, target = odd(0), odd(1)
    with torch.no_grad():
        source.model.sixteen.copy_(torch.tensor([float("nan"), -0.0, 6e-8]))
        source.model.brain.copy_(torch.tensor([float("inf"), -0.0, 1e-40]))
    target.set_tensors(source.get_tensors())
    assert bits(target.get_tensors()) == bits(source.get_tensors())
    for name, tensor in source.model.state_dict().items():
        other = target.model.state_dict()[name]
        assert torch.equal(
            tensor.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)
        )
    assert target.model.tied.weight is target.model.subnet.weight
    assert not target.model.across.is_contiguous()


def test_arrays_are_copies_and_may_be_read_only() -> None:
    adapter = odd()
    before = adapter.get_tensors()
    before["frozen"][:] = 9
    assert not (adapter.get_tensors()["frozen"] == 9).any()
    before["frozen"].flags.writeable = False
    adapter.set_tensors({"frozen": before["frozen"]})
    assert (adapter.get_tensors()["frozen"] == 9).all()


def test_only_the_tensors_named_are_set() -> None:
    adapter = odd()
    before = adapter.get_tensors()
    adapter.set_tensors({"scale": np.array(5.0, np.float32)})
    after = adapter.get_tensors()
    assert after.pop("scale") == 5.0
    before.pop("scale")
    assert bits(after) == bits(before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": np.zeros(1, np.float32)},
        {"brain": np.zeros(3, np.float32)},
        {"tied.weight": np.zeros((6, 4), np.float32)},
    ],
)
def test_wrong_arrays_are_refused_and_nothing_is_set(wrong: dict[str, np.ndarray]) -> None:
    adapter = odd()
    before = bits(adapter.get_tensors())
    with pytest.raises(Invalid):
        adapter.set_tensors({"frozen": np.ones(2, np.float32), **wrong})
    assert bits(adapter.get_tensors()) == before


def test_another_dtype_may_travel() -> None:
    adapter = odd(exchange=Exchange(dtype="bfloat16"))
    sent = adapter.get_tensors()
    assert sent["subnet.weight"].dtype == ml_dtypes.bfloat16
    assert sent["mask"].dtype == np.bool_
    adapter.set_tensors(sent)
    assert adapter.model.subnet.weight.dtype is torch.float32


def expanded() -> nn.Module:
    """One number, seen four times."""
    model = nn.Linear(8, 4)
    model.register_buffer("gain", torch.ones(1).expand(4))
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("a model", "needs a torch.nn.Module"),
        (nn.LazyLinear(3), "a Lazy layer"),
        (expanded(), r"'gain' has elements that share memory .*\.clone\(\)"),
        (nn.ReLU(), "no tensor of the model would travel"),
    ],
)
def test_models_that_cannot_be_federated(model: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        PyTorchAdapter(model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there() -> None:
    adapter = odd(resources=Resources(accelerator="cuda:1", accelerator_memory_mb=100))
    assert adapter.device.type == adapter.accelerator.name == "cpu"
    assert adapter.accelerator.problem == (
        "the CPU is used instead of the accelerator 'cuda:1': PyTorch sees no CUDA device; see 'accelerator' "
        "in [limits] of device.toml, or in [resources] of the config"
    )
    assert odd().accelerator.problem == ""


def test_a_stored_model_with_tied_weights_loads_as_the_page_says(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc = nn.Linear(8, 4, bias=False)
            self.dec = nn.Linear(8, 4, bias=False)
            self.dec.weight = self.enc.weight

    adapter = PyTorchAdapter(Tied())
    assert adapter.tied == {"dec.weight": "enc.weight"}
    assert PyTorchAdapter(nn.Linear(2, 2)).tied == {}
    save(adapter.get_tensors(), tmp_path / "v1.safetensors")
    loaded = Tied()
    load_model(loaded, tmp_path / "v1.safetensors")
    assert torch.equal(loaded.dec.weight, adapter.model.enc.weight)
    assert loaded.dec.weight is loaded.enc.weight
