"""A tiny FedOps 1 project, as its users wrote them: hydra, closures, a registration, ``conf/config.yaml``."""

from pathlib import Path

CLIENT = """
import random

import data_preparation
import hydra
import models
import numpy as np
import torch
from fedops.client import client_utils
from fedops.client.app import FLClientTask
from hydra.utils import instantiate
from omegaconf import DictConfig


@hydra.main(config_path="./conf", config_name="config", version_base=None)
def main(cfg: DictConfig) -> None:
    random.seed(cfg.random_seed)
    np.random.seed(cfg.random_seed)
    torch.manual_seed(cfg.random_seed)
    assert not cfg.wandb.use
    loaders = data_preparation.load_partition(dataset=cfg.dataset.name, batch_size=cfg.batch_size)
    model = instantiate(cfg.model)
    local_list = client_utils.local_model_directory(cfg.task_id)
    if local_list:
        model = client_utils.download_local_model(
            model_type=cfg.model_type, task_id=cfg.task_id, listdir=local_list, model=model
        )
    registration = {
        "train_loader": loaders[0],
        "val_loader": loaders[1],
        "test_loader": loaders[2],
        "model": model,
        "model_name": type(model).__name__,
        "train_torch": models.train_torch(),
        "test_torch": models.test_torch(),
    }
    FLClientTask(cfg, registration).start()


if __name__ == "__main__":
    main()
"""
SERVER = """
import data_preparation
import hydra
import models
from fedops.server.app import FLServer
from hydra.utils import instantiate


@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(cfg):
    server = FLServer(
        cfg=cfg,
        model=instantiate(cfg.model),
        model_name="Net",
        model_type=cfg.model_type,
        gl_val_loader=data_preparation.gl_model_torch_validation(batch_size=cfg.batch_size),
        test_torch=models.test_torch(),
    )
    server.start()


if __name__ == "__main__":
    main()
"""
DATA = """
import torch
from torch.utils.data import DataLoader, TensorDataset, random_split


def _examples(seed):
    x = torch.rand(80, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 0] > 0.5).long())


def load_partition(dataset: str, batch_size: int):
    parts = random_split(_examples(1), [48, 16, 16])
    return tuple(DataLoader(part, batch_size=batch_size, shuffle=not n) for n, part in enumerate(parts))


def gl_model_torch_validation(batch_size):
    return DataLoader(_examples(2), batch_size=batch_size)
"""
MODELS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, output_size):
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.bn1 = nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, output_size)

    def forward(self, x):
        return self.fc2(torch.relu(self.bn1(self.fc1(x))))


def train_torch():
    def custom_train_torch(model, train_loader, epochs, cfg):
        optimizer = torch.optim.SGD(model.parameters(), lr=cfg.learning_rate)
        model.train()
        for _ in range(epochs):
            for inputs, labels in train_loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
        return model

    return custom_train_torch


def test_torch():
    def custom_test_torch(model, test_loader, cfg):
        model.eval()
        right, loss = 0, 0.0
        with torch.no_grad():
            for inputs, labels in test_loader:
                out = model(inputs)
                loss += nn.functional.cross_entropy(out, labels).item()
                right += (out.argmax(1) == labels).sum().item()
        count = len(test_loader.dataset)
        return loss / len(test_loader), right / count, {"seen": count}

    return custom_test_torch
"""
CONFIG = """\
random_seed: 42
learning_rate: 0.05
model_type: 'Pytorch'
model:
  _target_: models.Net
  output_size: 2
dataset:
  name: 'points'
  validation_split: 0.2
task_id: 'task_id'
seq_len: 6
wandb:
  use: true
  key: 'not-a-real-key'
  project: '${dataset.name}_${task_id}'
num_epochs: 2
batch_size: 8
num_rounds: 2
clients_per_round: 1
server:
  strategy:
    _target_: flwr.server.strategy.FedAvg
    fraction_fit: 0.00001
    min_fit_clients: ${clients_per_round}
    min_available_clients: ${clients_per_round}
"""


def write_old_project(folder: Path) -> Path:
    (folder / "conf").mkdir(parents=True)
    texts = {
        "client_main.py": CLIENT,
        "server_main.py": SERVER,
        "client_manager_main.py": "import fastapi\n",
        "data_preparation.py": DATA,
        "models.py": MODELS,
        "conf/config.yaml": CONFIG,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder
