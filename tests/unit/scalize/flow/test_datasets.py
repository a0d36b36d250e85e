"""What a data step may return, in every common form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, TensorDataset
from torch.utils.data import Subset as TorchSubset

from fedops.core.errors import Invalid
from fedops.scalize.flow.datasets import (
    DataSplit,
    as_split,
    as_validation,
    count,
    cut,
    take,
    told_by_names,
)
from fedops.scalize.flow.result_parsing import returned_variables

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20)
TX, TY = X[:5], Y[:5]


def split(value: Any, share: float = 0.25, seed: int = 1) -> DataSplit:
    return as_split(value, "toy", share, seed, "the data step")


def numbers(data: Any) -> list[int]:
    if isinstance(data, tuple):
        return [int(label) for label in data[1]]
    source = data.dataset if isinstance(data, DataLoader) else data
    return [int(source[index][1]) for index in range(len(source))]


def tensors() -> TensorDataset:
    return TensorDataset(torch.tensor(X), torch.tensor(Y))


@pytest.mark.parametrize(
    "value",
    [
        (X, Y),
        tensors(),
        TorchSubset(tensors(), range(20)),
        DataLoader(tensors(), batch_size=3),
        [(X[i], Y[i]) for i in range(20)],
        DataSplit(tensors()),
        {"train": tensors()},
    ],
    ids=["arrays", "tensors", "subset", "loader", "list", "split", "dict"],
)
def test_one_data_set_is_cut_by_the_seed(value: Any) -> None:
    first, again, other = split(value), split(value), split(value, seed=2)
    assert (first.examples, count(first.train, ""), count(first.validation, "")) == (15, 15, 5)
    assert sorted(numbers(first.train) + numbers(first.validation)) == list(range(20))
    assert numbers(first.validation) == numbers(again.validation)
    assert numbers(first.validation) != numbers(other.validation)


def test_a_loader_stays_the_loader_it_was() -> None:
    order = torch.Generator()
    cut_loader = split(
        DataLoader(tensors(), 4, shuffle=True, generator=order, drop_last=True)
    ).train
    assert (cut_loader.batch_size, cut_loader.drop_last) == (4, True)
    assert cut_loader.generator is order
    assert type(cut_loader.sampler).__name__ == "RandomSampler"


@pytest.mark.parametrize(
    "value",
    [
        ((X, Y), (TX, TY)),
        (X, Y, TX, TY),
        (X, TX, Y, TY),
        {"train": (X, Y), "val": (TX, TY)},
        {"training": (X, Y), "test": (TX, TY)},
        DataSplit((X, Y), (TX, TY)),
    ],
)
def test_what_is_split_already_stays_so(value: Any) -> None:
    found = split(value)
    assert (found.examples, found.dataset) == (20, "toy")
    assert numbers(found.train) == Y.tolist()
    assert numbers(found.validation) == TY.tolist()


def test_three_parts() -> None:
    found = split((tensors(), [(1, 1)], [(2, 2), (3, 3)]))
    assert (count(found.validation, ""), count(found.test, "")) == (1, 2)


def test_four_arrays_of_one_length_go_by_their_dimensions() -> None:
    assert numbers(split((X, X + 1, Y, Y + 1)).validation) == (Y + 1).tolist()
    assert numbers(split((X, Y, X + 1, Y + 1)).validation) == (Y + 1).tolist()


def test_data_frames_are_cut_by_rows() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0]}, index=range(100, 120))
    found = split((frame, pandas.Series(Y, index=frame.index)))
    assert found.train[0].shape == (15, 1)
    assert (found.train[0].index == found.train[1].index).all()


def test_a_step_may_name_the_data_set_it_really_used() -> None:
    assert split(DataSplit(tensors(), dataset="digits")).dataset == "digits"
    assert split({"train": tensors(), "dataset": "digits"}).dataset == "digits"


def test_no_share_means_no_validation() -> None:
    assert split(tensors(), share=0.0).validation is None
    assert split((X[:2], Y[:2]), share=0.25).validation is None


@pytest.mark.parametrize(
    "value", [[], (X[:0], Y[:0]), TensorDataset(torch.zeros(0, 1)), DataSplit([])]
)
def test_a_device_without_examples_sits_out(value: Any) -> None:
    with pytest.raises(Invalid, match="no training example of 'toy' and sits out"):
        split(value)


@pytest.mark.parametrize(
    "value",
    [
        (None, (X, Y)),
        ([], (X, Y)),
        ((X[:0], Y[:0]), (X, Y)),
        DataSplit(validation=(X, Y)),
        DataSplit(test=(X, Y)),
        {"train": None, "val": (X, Y)},
        {"validation": (X, Y), "dataset": "toy"},
        {"test": (X, Y)},
    ],
)
def test_a_device_with_validation_data_alone_evaluates_on_it(value: Any) -> None:
    found = split(value)
    assert (found.examples, found.dataset) == (0, "toy")
    assert found.validation[1] is Y


def test_a_dict_of_columns_is_no_split() -> None:
    found = split({"name": X, "test": Y, "height": Y}, share=0.0)
    assert found.examples == len(X)


@pytest.mark.parametrize("value", [(None, []), ([], (X[:0], Y[:0]))])
def test_nothing_to_evaluate_on_either_is_no_data(value: Any) -> None:
    with pytest.raises(Invalid, match="sits out, having none to evaluate on either"):
        split(value)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "returned nothing as training data"),
        ("mnist", "returned a str as training data"),
        (3, "returned a int as training data"),
        ((x for x in range(3)), "generator of unknown length"),
        (DataLoader(Stream()), "a DataLoader over a Stream of unknown length"),
        ((1, 2, 3, 4), "returned 4 things"),
        ({"train": None}, "returned nothing"),
    ],
)
def test_what_cannot_be_trained_on_is_told(value: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        split(value)


def test_a_loader_with_a_sampler_of_its_own_is_not_cut() -> None:
    class Weighted(SequentialSampler):
        pass

    with pytest.raises(Invalid, match="validation_split = 0"):
        split(DataLoader(tensors(), sampler=Weighted(tensors())))


def test_a_sampler_tells_the_number_of_examples() -> None:
    sampler = torch.utils.data.SubsetRandomSampler(range(7))
    assert count(DataLoader(tensors(), sampler=sampler), "") == 7


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ((TX, TY), "toy"),
        (DataSplit((TX, TY), dataset="digits"), "digits"),
        ({"validation": (TX, TY), "dataset": "digits"}, "digits"),
        ({"test": (TX, TY)}, "toy"),
        (DataSplit((X, Y), (TX, TY)), "toy"),
    ],
)
def test_the_servers_validation_data(value: Any, name: str) -> None:
    data, dataset = as_validation(value, "toy", "it")
    assert (numbers(data), dataset) == (TY.tolist(), name)


def test_the_servers_validation_data_must_be_some() -> None:
    with pytest.raises(Invalid, match="empty set"):
        as_validation((X[:0], Y[:0]), "toy", "it")


def test_cut_is_disjoint_and_complete() -> None:
    kept, held_out = cut(11, 0.2, 3)
    assert (len(kept), len(held_out)) == (9, 2)
    assert sorted([*kept, *held_out]) == list(range(11))


def test_inputs_may_be_a_tuple_and_columns_lists() -> None:
    two = (np.arange(10), np.arange(20).reshape(10, 2))
    split = as_split((two, np.arange(10)), "d", 0.2, 1, "here")
    assert (split.examples, count(split.validation, "here")) == (8, 2)
    texts = as_split((["a", "b", "c", "d"], [0, 1, 0, 1]), "d", 0.25, 1, "here")
    assert (texts.examples, texts.train[0].dtype.kind) == (3, "U")


class Table:
    """As the tables of Hugging Face: they have a shape, and a list of numbers gives columns, not rows."""

    column_names = ("x", "label")

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        self.shape = (len(rows), 2)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> dict[str, Any]:
        return {"x": self.rows[key], "label": self.rows[key] % 2}

    def select(self, indices: Any) -> Table:
        return Table([self.rows[int(index)] for index in indices])


def test_a_table_is_cut_by_its_rows() -> None:
    loaders = DataLoader(Table(list(range(20))), 4), DataLoader(Table(list(range(5))), 4)
    found = as_split(loaders, "d", 0.2, 1, "here")
    assert (found.examples, count(found.validation, "here")) == (20, 5)
    part = take(found.train, np.array([1, 5]))
    assert [int(x) for batch in part for x in batch["x"]] == [1, 5]
    split = as_split((Table(list(range(8))), Table(list(range(8)))), "d", 0.2, 1, "here")
    assert (split.examples, count(split.validation, "here")) == (8, 8)


class DataModule:
    """As Lightning's: its loaders are made when it has been told what for."""

    def __init__(self, several: bool = False) -> None:
        self.calls: list[str] = []
        self.several = several

    def prepare_data(self) -> None:
        self.calls.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.calls.append(stage)

    def train_dataloader(self) -> Any:
        assert self.calls == ["prepare_data", "fit"]
        return DataLoader(TensorDataset(torch.tensor(X[:15]), torch.tensor(Y[:15])), 4)

    def val_dataloader(self) -> Any:
        loader = DataLoader(TensorDataset(torch.tensor(X[15:]), torch.tensor(Y[15:])), 4)
        return [loader, loader] if self.several else [loader]


def test_a_data_module_gives_its_loaders() -> None:
    found = split(DataModule())
    assert found.examples == 15
    assert (numbers(found.train), numbers(found.validation)) == ([*range(15)], [*range(15, 20)])


def test_a_data_module_without_a_validation_loader_of_its_own_is_cut() -> None:
    class Without(DataModule):
        def val_dataloader(self) -> Any:
            raise AssertionError("Lightning's own says that there is none")

    Without.val_dataloader.__module__ = "lightning.pytorch.core.hooks"
    found = split(Without())
    assert sorted(numbers(found.train) + numbers(found.validation)) == [*range(15)]
    assert found.examples == 12


def test_a_data_module_with_several_validation_loaders_is_refused() -> None:
    with pytest.raises(Invalid, match=r"val_dataloader\(\) gives 2 loaders"):
        split(DataModule(several=True))


def test_two_arrays_of_one_length_are_what_the_step_calls_them() -> None:
    def halves() -> Any:
        train_set, test_set = X[:10], X[10:]
        return train_set, test_set

    def labelled() -> Any:
        x_train, y_train = X, Y
        return x_train, y_train

    found = split(told_by_names(halves(), returned_variables(halves)))
    assert (len(found.train), len(found.validation)) == (10, 10)
    assert split(told_by_names(labelled(), returned_variables(labelled))).examples == 15
    assert told_by_names((X, Y), ["train_x", "test_y"])[0] is X


class Pipeline:
    """What tells a ``tf.data.Dataset``: its elements' shapes, how many there are, and the elements."""

    element_spec = ()

    def __init__(self, batches: list[Any], cardinality: int | None = None) -> None:
        self.batches = batches
        self._cardinality = len(batches) if cardinality is None else cardinality

    def cardinality(self) -> int:
        return self._cardinality

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        return iter(self.batches)


class PyDataset:
    """What tells one of Keras's: its name, ``num_batches`` and an index that gives a batch."""

    num_batches = 3

    def __getitem__(self, index: int) -> Any:
        return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]


def test_batches_that_are_made_already_are_counted_by_their_examples_and_never_cut() -> None:
    batches = [({"a": X[at : at + 8], "b": X[at : at + 8]}, Y[at : at + 8]) for at in (0, 8, 16)]
    for data in (Pipeline(batches), Pipeline(batches, -2), PyDataset()):
        assert count(data, "the data step") == 20
        assert split((data, Pipeline(batches[:1]))).examples == 20
        assert split(data, share=0).examples == 20
        with pytest.raises(Invalid, match="gives whole batches and cannot be cut"):
            split(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (Pipeline([(X, Y)], -1), "without an end; take out its repeat"),
        (Pipeline([(X[0], Y[0])]), "single examples, not batches; end it with batch"),
        (Pipeline([(X[0], Y[:1])]), "single examples, not batches"),
    ],
    ids=["endless", "scalar labels", "labels of one"],
)
def test_what_cannot_be_counted_by_batches_is_refused(data: Any, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        count(data, "the data step")
