"""A batch is loaded and room is looked for, and nothing is drawn at random by it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedops.config.loading import parse_config
from fedops.core.contracts import ParameterContract
from fedops.core.contracts.parameters import ExchangeRule, ParameterSpec
from fedops.core.errors import Invalid
from fedops.scalize.flow.datasets import DataSplit
from fedops.trainer.readiness import (
    data_places,
    explain_missing,
    lacking_disk,
    lacking_memory,
    load_batch,
)


class Files:
    """Examples that are read one by one."""

    def __init__(self, size: int, broken_from: int = 1_000) -> None:
        self.size, self.broken_from = size, broken_from
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        if index >= self.broken_from:
            raise OSError(f"cannot read {index}.png")
        self.read.append(index)
        return np.random.random(), random.random()


class OnlyIterates:
    def __len__(self) -> int:
        return 10


def test_a_batch_is_read_and_training_draws_as_if_it_had_not_been() -> None:
    data = Files(100)
    np.random.seed(1)
    random.seed(1)
    load_batch(DataSplit(data, examples=100), 8)
    drawn = (np.random.random(), random.random())
    np.random.seed(1)
    random.seed(1)
    assert drawn == (np.random.random(), random.random())
    assert data.read == list(range(8))


def test_a_device_with_validation_data_alone_reads_a_batch_of_that() -> None:
    data = Files(5)
    load_batch(DataSplit(None, data), 8)
    assert data.read == list(range(5))
    with pytest.raises(Invalid, match="a batch of the validation data cannot be loaded"):
        load_batch(DataSplit(None, Files(5, broken_from=2)), 8)


def test_a_batch_that_cannot_be_read_is_named() -> None:
    with pytest.raises(Invalid, match="a batch of the training data cannot be loaded: OSError: c"):
        load_batch(DataSplit(Files(100, broken_from=3), examples=100), 8)
    load_batch(DataSplit(Files(100, broken_from=8), examples=100), 8)


@pytest.mark.parametrize(
    "data",
    [
        OnlyIterates(),
        (np.zeros((10, 2)), np.zeros(10)),
        {"x": np.zeros((10, 2)), "y": np.zeros(10)},
        {"a": "mapping of something else"},
    ],
)
def test_what_cannot_be_taken_apart_is_taken_as_it_is(data: Any) -> None:
    load_batch(DataSplit(data, examples=10), 4)


def test_a_folder_that_is_not_there_is_the_reason_that_is_named(tmp_path: Path) -> None:
    config = parse_config({"dataset": {"root": str(tmp_path / "gone")}}, "the config")
    text = explain_missing(config, Invalid("the data step failed: KeyError")).message
    assert text.startswith(f"the data folder {tmp_path / 'gone'} (dataset.root) does not exist: ")
    assert "--set dataset.root=FOLDER" in text
    assert text.endswith("(the data step failed: KeyError)")
    there = parse_config({"dataset": {"root": str(tmp_path)}}, "the config")
    assert explain_missing(there, Invalid("no x.npy")).message == "no x.npy"


def test_where_the_data_lies_is_seen_in_the_config() -> None:
    plain = {
        "dataset": {"root": "/data/mnist"},
        "data": {"_target_": "a.b", "file": "lists/x.csv", "url": "https://x/y", "kind": "train"},
    }
    assert data_places(parse_config(plain, "it")) == [Path("/data/mnist"), Path("lists/x.csv")]


def contract(values: int) -> ParameterContract:
    spec = ParameterSpec(name="w", shape=(values,), dtype="bfloat16", rule=ExchangeRule.MEAN)
    return ParameterContract(parameters=(spec,))


def test_room_is_missed_only_where_it_is_missing(tmp_path: Path) -> None:
    assert lacking_disk(contract(1_000), tmp_path) == ""
    assert lacking_memory(contract(1_000)) == ""
    assert f"the disk of {tmp_path} has " in lacking_disk(contract(10**15), tmp_path)
    assert "of memory are free, and a round" in lacking_memory(contract(10**15))
