"""Steps are called by signature: what is passed, what is refused, and how it is explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedops.core.errors import Invalid, NotFound
from fedops.scalize.adapter.protocol import Cancelled
from fedops.scalize.flow.signature_binding import Lazy, StepCall, plan


class Module:
    """Stands for torch's, which is recognised by its name."""


class DataLoader:
    """Likewise."""


def planned(kind: str, function: Callable[..., Any], **given: Any) -> StepCall:
    return plan(kind, f"app.{function.__name__}", function, given, [])


def own(net, trainloader, epochs, lr=0.1, *, verbose=False):
    return net, trainloader, epochs, lr, verbose


def test_parameters_are_filled_by_their_names() -> None:
    offers = {"model": "m", "train_data": "d", "epochs": 3, "learning_rate": 0.5, "seed": 1}
    assert planned("train", own)(offers) == ("m", "d", 3, 0.5, False)


def test_the_config_wins_over_what_is_offered() -> None:
    call = planned("train", own, lr=0.9, verbose=True)
    assert call({"model": "m", "train_data": "d", "epochs": 3, "learning_rate": 0.5})[3:] == (
        0.9,
        True,
    )


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("train", "trainLoader", "train_data"),
        ("train", "train_dl", "train_data"),
        ("train", "dataloader", "train_data"),
        ("train", "val_loader", "validation_data"),
        ("train", "test_data", "validation_data"),
        ("train", "X", "x"),
        ("train", "y_train", "y"),
        ("train", "criterion", "loss"),
        ("train", "loss_fn", "loss"),
        ("train", "cfg", "config"),
        ("evaluate", "testloader", "data"),
        ("evaluate", "val_loader", "data"),
        ("evaluate", "network", "model"),
        ("data", "num_partitions", "partitions"),
        ("data", "data_dir", "root"),
        ("data", "dataset", "dataset"),
    ],
)
def test_common_names(kind: str, name: str, key: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def step({name}): return {name}", namespace)
    call = planned(kind, namespace["step"])
    assert call({key: "value"}) == "value"


def test_an_annotation_tells_when_the_name_does_not() -> None:
    def step(thing: Module, what: DataLoader, hp: int = 3):
        return thing, what, hp

    assert planned("train", step)({"model": 1, "train_data": 2}) == (1, 2, 3)


def test_an_annotation_may_be_quoted_and_dotted() -> None:
    def step(thing, what):
        return thing, what

    step.__annotations__ = {"thing": "'nn.Module'", "what": "DataLoader[int]"}
    assert planned("train", step)({"model": 1, "train_data": 2}) == (1, 2)


def test_a_data_step_gets_the_section_or_the_name() -> None:
    def by_section(dataset):
        return dataset

    def by_name(dataset: str) -> str:
        return dataset

    def as_fedops_1(dataset, validation_split, batch_size):
        return dataset

    offers = {"dataset": {"name": "MNIST"}, "dataset_name": "MNIST"}
    offers |= {"validation_split": 0.2, "batch_size": 8}
    assert planned("data", by_section)(offers) == {"name": "MNIST"}
    assert planned("data", by_name)(offers) == "MNIST"
    assert planned("data", as_fedops_1)(offers) == "MNIST"


def test_values_are_fitted_to_plain_annotations() -> None:
    class Device:
        def __str__(self) -> str:
            return "cpu"

    def step(model, data, device: str):
        return device

    assert planned("evaluate", step)({"model": 1, "data": 2, "device": Device()}) == "cpu"


def test_lazy_offers_are_made_once_and_only_when_asked_for() -> None:
    made: list[int] = []
    offers = {
        "model": 1,
        "data": 2,
        "optimizer": Lazy(lambda: made.append(1)),
        "loss": Lazy(object),
    }

    def without(model, data):
        return model

    def with_loss(model, data, criterion):
        return criterion

    planned("evaluate", without)(offers)
    assert made == []
    call = planned("evaluate", with_loss)
    assert call(offers) is call(offers)


def test_positional_only_and_open_ended_functions() -> None:
    def step(model, /, data, *rest, **options):
        return model, data, rest, options

    assert planned("evaluate", step, extra=5)({"model": 1, "data": 2, "seed": 3}) == (
        1,
        2,
        (),
        {"extra": 5},
    )


@pytest.mark.parametrize(
    ("takes", "per_epoch"),
    [
        ("model, train_loader, optimizer, epoch", True),
        ("dataloader, model, loss_fn, optimizer", True),
        ("model, train_loader, optimizer, epochs", False),
        ("model, train_loader", False),
    ],
)
def test_a_function_of_one_epoch_is_recognised(takes: str, per_epoch: bool) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def step({takes}): pass", namespace)
    assert planned("train", namespace["step"]).per_epoch is per_epoch


def test_a_parameter_nothing_fits_is_named() -> None:
    def step(model, data, magic):
        return None

    with pytest.raises(Invalid) as caught:
        planned("evaluate", step)
    message = str(caught.value)
    assert "'magic'" in message
    assert "test_signature_binding.py, line" in message
    assert "[evaluate]" in message


def test_an_argument_the_function_does_not_have_is_named() -> None:
    with pytest.raises(Invalid, match=r"\[train\] verbos: .*did you mean 'verbose'\?"):
        planned("train", own, verbos=True)


def test_what_is_not_there_this_time_is_named() -> None:
    def step(X, y):
        return None

    def data(root):
        return None

    with pytest.raises(Invalid, match=r"'X': the data step gave no pair of arrays"):
        planned("train", step)({"train_data": object()})
    with pytest.raises(Invalid, match=r"'root': there is no \[dataset\] root"):
        planned("data", data)({"root": None})


def test_what_the_function_raises_is_told_with_its_line() -> None:
    def broken(model, data):
        raise ZeroDivisionError("no data\nmore")

    from pathlib import Path

    call = plan("evaluate", "app.broken", broken, {}, [Path(__file__).parent])
    with pytest.raises(Invalid) as caught:
        call({"model": 1, "data": 2})
    message = str(caught.value)
    assert "failed: ZeroDivisionError: no data (" in message
    assert message.count("\n") == 0


@pytest.mark.parametrize("error", [Cancelled(), NotFound("gone")])
def test_our_own_errors_pass(error: Exception) -> None:
    def step(model, data):
        raise error

    with pytest.raises(type(error)):
        planned("evaluate", step)({"model": 1, "data": 2})


def test_one_line_explains_a_step() -> None:
    assert planned("train", own, lr=0.5).explain() == (
        "train: app.own(net=the model, trainloader=the training data, epochs=num_epochs, "
        "lr=0.5 (config), verbose left as it is)"
    )


def test_what_nothing_else_fits_is_the_model() -> None:
    def train_gan(gan: Any, dataloader: Any, scheduler: Any, dataloaders: Any) -> None: ...

    call = plan("train", "m.train_gan", train_gan, {}, [])
    assert dict(call.passed) == {
        "gan": "model",
        "dataloader": "train_data",
        "scheduler": "scheduler",
        "dataloaders": "loaders",
    }

    def train(model: Any, teacher: Any) -> None: ...

    with pytest.raises(Invalid, match=r"'teacher'.*a function of your own"):
        plan("train", "m.train", train, {}, [])


def test_a_function_that_got_our_config_and_fails_is_told_of_its_own() -> None:
    def build(cfg: Any) -> Any:
        return cfg["hidden"]

    with pytest.raises(Invalid, match=r"'cfg' got the config of FedOps.*\[model.cfg\]"):
        plan("model", "m.build", build, {}, [])({"config": object()})
