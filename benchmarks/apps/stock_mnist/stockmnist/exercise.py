"""What the benchmark has put into a folder: how to train, the data as tensors, the model to start from."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.utils.data import TensorDataset


@dataclass(frozen=True)
class Exercise:
    """``exercise.json`` of the folder."""

    epochs: int
    batch_size: int
    learning_rate: float
    rounds: int  #: at most
    target: float
    seeds: list[list[int]]  #: by client, then by round


def read_exercise(folder: Path) -> Exercise:
    return Exercise(**json.loads((folder / "exercise.json").read_text()))


def read_data(folder: Path, name: str) -> TensorDataset:
    """``test``, or ``part-0`` of the first client."""
    tensors = load_file(folder / f"{name}.safetensors")
    return TensorDataset(tensors["images"], tensors["labels"])


def read_initial(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "initial.safetensors")
