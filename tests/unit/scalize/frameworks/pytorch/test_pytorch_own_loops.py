"""The loops of a project itself: called as they are, with the proximal term, stopped at the next step."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch_cases import bits, classifier, context, data, own_train, with_own

from fedops.scalize.adapter.protocol import Cancelled
from fedops.scalize.flow.signature_binding import Lazy
from fedops.scalize.frameworks.pytorch import PyTorchAdapter

# --- the project's own loops -----------------------------------------------------------------


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


# --- a loop that loads its own data -----------------------------------------------------------


def of_its_own(model, epochs, lr):
    mine, held_out = torch.utils.data.random_split(data(), [25, 5])
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for x, y in DataLoader(mine, batch_size=7, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            return_loss = sum(F.cross_entropy(model(x), y) for x, y in DataLoader(held_out, 5))
    return {"loss": float(return_loss)}


def of_arrays_of_its_own(model, epochs):
    x, y = data()[:20]
    F.cross_entropy(model(x), y).backward()


def says_how_many(model, epochs):
    return {"examples": 11, **of_its_own(model, epochs, 0.1)}


def test_a_loop_that_loads_its_own_data_weighs_what_it_trained_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert with_own(of_its_own).train(data(), context(epochs=3)).examples == 25
    assert with_own(says_how_many).train(data(), context()).examples == 11
    assert "cannot be counted" not in caplog.text
    assert with_own(of_arrays_of_its_own).train(data(), context()).examples == 30
    assert "the examples of the train step, which loads its own, cannot be counted" in caplog.text
    fetched = [len(y) for _, y in DataLoader(data(), batch_size=8)]
    assert fetched == [8, 8, 8, 6], "the loaders are as they were"
