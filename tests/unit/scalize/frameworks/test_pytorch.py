"""The PyTorch adapter: exact arrays, declared rules, repeatable training, evaluation without traces."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fedops.config.schema import Exchange, Resources
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import AdapterOptions, Cancelled, Part, TrainContext
from fedops.scalize.flow.custom_loops import OwnEvaluate, OwnTrain
from fedops.scalize.flow.signature_binding import Lazy, plan
from fedops.scalize.frameworks.pytorch import PyTorchAdapter


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Odd(nn.Module):
    """Everything that has ever been lost on the way: see the comments."""

    def __init__(self) -> None:
        super().__init__()
        self.subnet = nn.Linear(4, 6)  # names that hold "bn" by chance
        self.bnorm_head = nn.Linear(6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.tied = nn.Linear(4, 6)
        self.tied.weight = self.subnet.weight
        self.sixteen = nn.Parameter(torch.randn(3).half())
        self.brain = nn.Parameter(torch.randn(3).bfloat16())
        self.eighth = nn.Parameter(torch.randn(3).to(torch.float8_e4m3fn), requires_grad=False)
        self.scale = nn.Parameter(torch.tensor(2.0))  # 0-d
        self.across = nn.Parameter(torch.randn(5, 4).t())  # not contiguous
        self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("cache", torch.randn(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.norm(self.subnet(x) + self.tied(x)))
        hidden = F.dropout(hidden, 0.1, self.training)
        return self.bnorm_head(hidden) * self.scale


def context(**changes: Any) -> TrainContext:
    values = {"round": 1, "seed": 7, "epochs": 2, "batch_size": 8, "learning_rate": 0.01}
    return TrainContext(**{**values, **changes})


def odd(seed: int = 0, **options: Any) -> PyTorchAdapter:
    torch.manual_seed(seed)
    return PyTorchAdapter(Odd(), AdapterOptions(**options))


def data(size: int = 30, seed: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long())


def bits(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (a.dtype.name, a.shape, a.tobytes()) for name, a in tensors.items()}


# --- arrays ----------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("a model", "needs a torch.nn.Module"),
        (nn.LazyLinear(3), "a Lazy layer"),
        (nn.ReLU(), "no tensor of the model would travel"),
    ],
)
def test_models_that_cannot_be_federated(model: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        PyTorchAdapter(model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(Invalid, match="no CUDA device"):
        odd(resources=Resources(accelerator="cuda"))


# --- training --------------------------------------------------------------------------------


def classifier(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)
    )


def test_one_client_and_one_round_is_local_training_to_the_bit() -> None:
    model = classifier()
    adapter = PyTorchAdapter(copy.deepcopy(model))
    result = adapter.train(data(), context())

    torch.manual_seed(7)
    order = torch.Generator().manual_seed(7)
    loader = DataLoader(data(), batch_size=8, shuffle=True, generator=order)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert bits(adapter.get_tensors()) == bits(PyTorchAdapter(model).get_tensors())
    assert result.examples == 30
    assert set(result.metrics) == {"loss", "accuracy"}


@pytest.mark.parametrize(
    "make",
    [
        data,
        lambda: (data().tensors[0].numpy(), data().tensors[1].numpy()),
        lambda: [data()[i] for i in range(30)],
        lambda: DataLoader(data(), 8, shuffle=True),
        lambda: DataLoader(data(), 8, shuffle=True, generator=torch.Generator()),
        lambda: [{"x": x, "label": y} for x, y in data()],
    ],
    ids=["tensors", "arrays", "list", "loader", "loader with generator", "dicts"],
)
def test_a_repeated_round_gives_the_same_update(make: Any) -> None:
    adapter, given = PyTorchAdapter(classifier()), make()
    start = adapter.get_tensors()
    adapter.train(given, context())
    first = bits(adapter.get_tensors())
    random.random(), torch.rand(3), np.random.rand()
    adapter.set_tensors(start)
    adapter.train(given, context())
    assert bits(adapter.get_tensors()) == first
    adapter.set_tensors(start)
    adapter.train(given, context(seed=8))
    assert bits(adapter.get_tensors()) != first


def test_frozen_parameters_stay() -> None:
    adapter = odd()
    before = adapter.get_tensors()["frozen"]
    adapter.train(data(), context())
    assert (adapter.get_tensors()["frozen"] == before).all()


def test_a_last_batch_of_one_does_not_break_batch_norm() -> None:
    result = PyTorchAdapter(classifier()).train(data(17), context())
    assert result.examples == 17


def test_the_proximal_term_is_its_gradient_in_every_step() -> None:
    """One weight, squared error: w' = w - lr (gradient + mu (w - w_global)), worked out by hand."""
    adapter = PyTorchAdapter(
        nn.Linear(1, 1, bias=False), AdapterOptions(optimizer=Part("sgd"), loss=Part("mse"))
    )
    adapter.set_tensors({"weight": np.array([[2.0]], np.float32)})
    pair = (np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32))
    adapter.train(pair, context(epochs=2, learning_rate=0.1, proximal_mu=0.5))
    first = 2.0 - 0.1 * (2 * 2.0)
    second = first - 0.1 * (2 * first + 0.5 * (first - 2.0))
    assert adapter.get_tensors()["weight"] == pytest.approx(second, rel=1e-6)


def test_regression_does_not_broadcast_outputs_against_labels() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([1.0, -2.0, 0.5])
    adapter = PyTorchAdapter(nn.Linear(3, 1), AdapterOptions(optimizer=Part("sgd")))
    result = adapter.train(TensorDataset(x, y), context(epochs=60, learning_rate=0.1))
    assert result.metrics == {"loss": pytest.approx(0.0, abs=1e-3)}
    assert set(adapter.evaluate(TensorDataset(x, y), context()).metrics) == {"loss"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimizer": Part("adma")}, r"\[optimizer\] 'adma' is not known; did you mean 'adam'\?"),
        ({"loss": Part("croos_entropy")}, r"did you mean 'cross_entropy'\?"),
        ({"optimizer": Part("sgd", {"momentums": 0.9})}, r"\[optimizer\] SGD: .*momentums"),
    ],
)
def test_a_wrong_optimizer_or_loss_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        PyTorchAdapter(classifier(), AdapterOptions(**options)).train(data(), context())


def test_dotted_parts_are_used_as_they_are() -> None:
    options = AdapterOptions(
        optimizer=Part("torch.optim.SGD", {"momentum": 0.9, "lr": 0.0}, torch.optim.SGD),
        loss=Part("torch.nn.functional.cross_entropy", {"label_smoothing": 0.1}, F.cross_entropy),
    )
    adapter = PyTorchAdapter(nn.Linear(4, 2), options)
    before = bits(adapter.get_tensors())
    adapter.train(data(), context())
    assert bits(adapter.get_tensors()) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([(torch.zeros(4),)], "needs batches of"),
        ([(torch.zeros(5), 1)] * 2, "the default training loop failed: RuntimeError"),
    ],
)
def test_data_that_does_not_fit_the_loop_or_the_model(given: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        PyTorchAdapter(nn.Linear(4, 2)).train(given, context())


def test_nothing_to_train() -> None:
    model = nn.Linear(4, 2).requires_grad_(False)
    with pytest.raises(Invalid, match="requires a gradient"):
        PyTorchAdapter(model).train(data(), context())


def test_training_stops_when_it_is_told_to() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        PyTorchAdapter(classifier()).train(data(), context(cancelled=cancelled))


# --- the project's own loops -----------------------------------------------------------------


def own_train(model, train_set, epochs, lr):
    loader = DataLoader(train_set, batch_size=8, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def one_epoch(model, train_data, optimizer, criterion, epoch):
    for x, y in DataLoader(train_data, batch_size=8):
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    return {"epoch": epoch}


def gives_another_model(model, train_data):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    return other, {"loss": 0.5}


def proximal_by_itself(model, train_data, lr, proximal_mu):
    own_train(model, train_data, 1, lr)
    return {"mu": proximal_mu}


def careless_evaluate(model, data):
    """Trains a step, leaves the mode, draws random numbers, freezes: none of it may remain."""
    model.train()
    model(data.tensors[0])
    random.random(), np.random.rand(), torch.rand(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
            parameter.requires_grad_(False)
    return 0.5, 0.25


def with_own(train: Any = None, evaluate: Any = None) -> PyTorchAdapter:
    options = AdapterOptions(
        train=OwnTrain(plan("train", "app.train", train, {}, []), {}) if train else None,
        evaluate=OwnEvaluate(plan("evaluate", "app.evaluate", evaluate, {}, []), {})
        if evaluate
        else None,
    )
    return PyTorchAdapter(classifier(), options)


def test_an_own_loop_trains_as_it_would_alone() -> None:
    adapter, model = with_own(own_train), classifier()
    assert adapter.train(data(), context()).examples == 30
    torch.manual_seed(7)
    model.train()
    own_train(model, data(), 2, 0.01)
    assert bits(adapter.get_tensors()) == bits(PyTorchAdapter(model).get_tensors())


def test_a_loop_of_one_epoch_is_called_for_each_with_one_optimizer() -> None:
    adapter, model = with_own(one_epoch), classifier()
    assert adapter.train(data(), context(epochs=3)).metrics == {"epoch": 3.0}
    torch.manual_seed(7)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(3):
        one_epoch(model, data(), optimizer, nn.CrossEntropyLoss(), epoch)
    assert bits(adapter.get_tensors()) == bits(PyTorchAdapter(model).get_tensors())


def test_a_loop_over_batches_gets_a_loader_of_examples() -> None:
    """A data step may give a data set or arrays where the loops want loaders."""
    seen: list[Any] = []

    def train(model, train_dl, val_loader):
        seen.extend([train_dl, val_loader])

    def evaluate(model, batches: DataLoader):
        seen.append(batches)
        return {"score": len(batches.dataset)}

    adapter = with_own(train, evaluate)
    adapter.options.train._extra["validation_data"] = Lazy(data)
    arrays = tuple(tensor.numpy() for tensor in data().tensors)
    assert adapter.train(arrays, context()).examples == 30
    assert adapter.evaluate(arrays, context()).metrics == {"score": 30.0}
    assert [(type(loader), loader.batch_size) for loader in seen] == [(DataLoader, 8)] * 3
    assert [len(x) for x, _ in seen[0]] == [8, 8, 8, 6]
    given = DataLoader(data(), batch_size=5)
    adapter.evaluate(given, context())
    assert seen[-1] is given


def test_a_model_that_is_given_back_is_taken_over() -> None:
    adapter = with_own(gives_another_model)
    before = adapter.get_tensors()
    result = adapter.train(data(), context())
    assert result.metrics == {"loss": 0.5}
    assert np.allclose(adapter.get_tensors()["0.weight"], before["0.weight"] + 1)


def test_own_loops_get_the_proximal_term_unless_they_apply_it() -> None:
    def after(train: Any, mu: float) -> Any:
        adapter = with_own(train)
        adapter.train(data(), context(proximal_mu=mu, epochs=1, learning_rate=0.1))
        return bits(adapter.get_tensors())

    assert after(own_train, 0.0) != after(own_train, 1.0)
    assert after(proximal_by_itself, 0.0) == after(proximal_by_itself, 1.0) == after(own_train, 0.0)


def test_own_loops_stop_at_the_next_step() -> None:
    cancelled = threading.Event()

    def endless(model, train_data, lr):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        while True:
            cancelled.set()
            optimizer.step()

    with pytest.raises(Cancelled):
        with_own(endless).train(data(), context(cancelled=cancelled))


def test_the_hook_is_gone_after_training_and_only_in_its_thread() -> None:
    seen: list[str] = []

    def train(model, train_data, context):
        context.cancelled.set()
        other = nn.Linear(1, 1)

        def elsewhere() -> None:
            torch.optim.SGD(other.parameters()).step()
            seen.append("stepped")

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    with_own(train).train(data(), context())
    torch.optim.SGD(nn.Linear(1, 1).parameters()).step()
    assert seen == ["stepped"]


# --- evaluation ------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [None, careless_evaluate])
def test_evaluation_changes_nothing(own: Any) -> None:
    adapter = with_own(evaluate=own)
    adapter.model.train()
    adapter.model[1].eval()  # a part in another mode than the whole
    before = bits(adapter.get_tensors())
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    result = adapter.evaluate(data(), context())
    assert set(result.metrics) == {"loss", "accuracy"}
    assert result.examples == 30
    assert bits(adapter.get_tensors()) == before
    assert [m.training for m in adapter.model] == [True, False, True, True, True]
    assert all(p.requires_grad for p in adapter.model.parameters())
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def test_evaluation_is_the_mean_over_examples() -> None:
    adapter = PyTorchAdapter(classifier())
    result = adapter.evaluate(data(30), context(batch_size=7))
    adapter.model.eval()
    x, y = data(30).tensors
    with torch.no_grad():
        outputs = adapter.model(x)
    assert result.metrics["loss"] == pytest.approx(float(F.cross_entropy(outputs, y)), rel=1e-5)
    assert result.metrics["accuracy"] == int((outputs.argmax(1) == y).sum()) / 30


def test_a_loop_over_a_dict_of_loaders_with_a_scheduler() -> None:
    """As the tutorial on transfer learning writes it."""
    seen: dict[str, Any] = {}

    def train(model, dataloaders, optimizer, lr_scheduler, num_epochs):
        for _ in range(num_epochs):
            for x, y in dataloaders["train"]:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            lr_scheduler.step()
        seen.update(dataloaders, rate=optimizer.param_groups[0]["lr"])

    adapter = with_own(train)
    adapter.options.train._extra["validation_data"] = Lazy(data)
    before = bits(adapter.get_tensors())
    adapter.train(data(), context())
    assert bits(adapter.get_tensors()) != before
    assert [seen[name].batch_size for name in ("train", "val")] == [8, 8]
    assert seen["rate"] == context().learning_rate
