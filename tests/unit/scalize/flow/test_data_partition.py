"""The part of a data set that a device takes, whatever kind of data set it is."""

from typing import Any

import numpy as np
import pytest

from fedops.config.schema import Partition
from fedops.core.errors import Invalid
from fedops.scalize.flow.data_partition import labels_of, select_partition
from fedops.scalize.flow.datasets import DataSplit, count

X = np.arange(60.0).reshape(60, 1)
Y = np.arange(60) % 3
EXAMPLES: dict[str, Any] = {
    "arrays": (X, Y),
    "tuples": [(x, y) for x, y in zip(X, Y, strict=True)],
    "dicts": [{"x": x, "label": y} for x, y in zip(X, Y, strict=True)],
    "columns": ({"a": X, "b": X}, Y),
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_labels_are_found(kind: str) -> None:
    assert labels_of(EXAMPLES[kind], "the data step").tolist() == Y.tolist()


def test_labels_of_torch_data() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    assert labels_of(data, "").tolist() == labels_of(loader, "").tolist() == Y.tolist()


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("scheme", ["iid", "dirichlet", "shards", "quantity"])
def test_the_parts_together_are_the_whole(kind: str, scheme: Any) -> None:
    split = DataSplit(EXAMPLES[kind], validation="kept", dataset="d", examples=60)
    seen: list[int] = []
    for index in range(3):
        part = select_partition(
            split, Partition(scheme=scheme, of=3, index=index), 5, "the data step"
        )
        assert (part.validation, part.dataset) == ("kept", "d")
        assert part.examples == count(part.train, "") > 0
        seen.append(part.examples)
    assert sum(seen) == 60


def test_without_labels_only_sizes_can_be_cut() -> None:
    split = DataSplit(list(range(60)), examples=60)
    part = select_partition(split, Partition(scheme="iid", of=2, index=0), 5, "the data step")
    assert part.examples == 30
    with pytest.raises(Invalid, match="no label is found in an example of the data step"):
        select_partition(split, Partition(scheme="dirichlet", of=2, index=0), 5, "the data step")
