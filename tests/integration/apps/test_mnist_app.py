"""The MNIST client app: its data from every source, its model, and federated averaging over it."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from flwr.app import Context, RecordDict
from flwr.cli.build import build_fab_from_disk

from fedops.config.loading import load_config
from fedops.config.schema import Dataset
from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.core.seeds import client_seed
from fedops.flower import client_app
from fedops.scalize.adapter.protocol import ModelAdapter, TrainContext
from fedops.scalize.flow.datasets import DataSplit
from fedops.scalize.flow.project import Project

APP = Path(__file__).parents[3] / "apps" / "mnist-xai"
MNIST = os.environ.get("FEDOPS_MNIST_DIR")
needs_mnist = pytest.mark.skipif(not MNIST, reason="FEDOPS_MNIST_DIR names no folder with MNIST")


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """One thread, no MNIST, no network, an empty cache."""
    torch.set_num_threads(1)
    monkeypatch.delenv("FEDOPS_MNIST_DIR", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    path = list(sys.path)
    sys.path.insert(0, str(APP))
    import fedopsmnist.data_preparation as preparation

    monkeypatch.setattr(preparation, "MIRRORS", ("http://127.0.0.1:9/mnist/",))
    yield
    sys.path[:] = path


def open_app(*overrides: str) -> Project:
    return Project.open(APP, overrides)


def write_mnist(folder: Path, *, compressed: bool, train: int = 40, test: int = 10) -> Path:
    """A small MNIST: random images, labels 0 to 9 in turn."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for prefix, size in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (size, 28, 28), np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images, compressed)
        write_idx(
            folder / f"{prefix}-labels-idx1-ubyte",
            (np.arange(size) % 10).astype(np.uint8),
            compressed,
        )
    return folder


def write_idx(file: Path, array: np.ndarray, compressed: bool) -> None:
    data = struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape) + array.tobytes()
    if compressed:
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(data))
    else:
        file.write_bytes(data)


def said(error: type[FedOpsError], call: Any, *args: Any) -> str:
    with pytest.raises(error) as caught:
        call(*args)
    return str(caught.value)


# --- config and bundle -----------------------------------------------------------------------


def test_the_config_file_is_the_documents() -> None:
    config = load_config(APP / "fedopsmnist" / "conf" / "config.toml")
    assert (config.batch_size, config.num_rounds, config.clients_per_round) == (128, 2, 1)
    assert config.model.target == "fedopsmnist.models.MNISTClassifier"
    assert config.server.strategy.target == "flwr.server.strategy.FedAvg"
    assert config.xai.layer == "conv2"


def test_every_step_is_explained() -> None:
    lines = open_app().describe()
    assert lines[0].startswith("data: fedopsmnist.data_preparation.load_data(dataset=[dataset]")
    assert lines[1] == "model: fedopsmnist.models.MNISTClassifier(output_size=10 (config))"
    assert "epochs=num_epochs" in lines[2]


def test_flower_can_bundle_it() -> None:
    assert build_fab_from_disk(APP).startswith(b"PK")


def context_of(node_config: dict[str, Any] | None = None, **run_config: Any) -> Context:
    return Context(1, 2, node_config or {}, RecordDict(), run_config)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("simulaton", "did you mean 'simulation'?"),
        ("nothing", "one of client, simulation"),
        ("server", "a FedOps server plays the rounds of its runs itself"),
    ],
)
def test_the_mode_decides_what_the_server_app_is(mode: str, words: str) -> None:
    from fedopsmnist.launcher_app import app

    grid: Any = None
    assert words in said(Invalid, app, grid, context_of(mode=mode))


def test_a_flower_node_may_have_a_part_of_the_data() -> None:
    assert client_app.node_part(context_of()) == ()
    part = client_app.node_part(context_of({"partition-id": 1, "num-partitions": 4}))
    partition = open_app(*part).config.dataset.partition
    assert partition is not None
    assert (partition.index, partition.of) == (1, 4)


# --- data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [True, False])
def test_the_idx_files_of_a_folder(tmp_path: Path, compressed: bool) -> None:
    folder = write_mnist(tmp_path / "mnist", compressed=compressed)
    project = open_app(f"dataset.root={folder}")
    data = project.load_data()
    assert (data.dataset, data.examples, len(data.validation)) == ("MNIST", 32, 8)
    image, label = data.train[0]
    assert (image.shape, image.dtype, label.dtype) == ((1, 28, 28), torch.float32, torch.int64)
    found = project.load_validation_data()
    assert found is not None
    assert (len(found[0]), found[1]) == (10, "MNIST")


def test_the_environments_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDOPS_MNIST_DIR", str(write_mnist(tmp_path / "a", compressed=True)))
    assert open_app("dataset.root=/nowhere").load_data().examples == 32


@pytest.mark.parametrize("scheme", ["iid", "dirichlet", "shards", "quantity"])
def test_parts_are_disjoint_and_complete(tmp_path: Path, scheme: str) -> None:
    folder = write_mnist(tmp_path / "mnist", compressed=True, train=200)
    seen = []
    for index in range(3):
        data = open_app(
            f"dataset.root={folder}",
            f"dataset.partition.scheme={scheme}",
            "dataset.partition.of=3",
            f"dataset.partition.index={index}",
            "dataset.validation_split=0.0",
        ).load_data()
        assert data.validation is None
        seen += [image.numpy().tobytes() for image in data.train.tensors[0]]
    assert len(seen) == len(set(seen)) == 200


def test_digits_stand_in_only_when_asked_for_and_say_so() -> None:
    project = open_app("dataset.fallback=digits", "dataset.download=false")
    data = project.load_data()
    assert (data.dataset, data.examples + len(data.validation)) == ("digits", 1438)
    assert data.train[0][0].shape == (1, 28, 28)
    found = project.load_validation_data()
    assert found is not None
    assert (len(found[0]), found[1]) == (359, "digits")
    assert open_app("dataset.name=digits").load_data().dataset == "digits"


def test_without_network_it_says_what_to_do() -> None:
    message = said(Unavailable, open_app().load_data)
    assert all(
        words in message for words in ("127.0.0.1:9", "FEDOPS_MNIST_DIR", 'fallback = "digits"')
    )
    assert "download = false" in said(Unavailable, open_app("dataset.download=false").load_data)
    assert open_app("dataset.fallback=digits").load_data().dataset == "digits"


def test_a_server_without_data_judges_on_the_clients() -> None:
    assert open_app().load_validation_data() is None


def test_a_wrong_checksum_is_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fedopsmnist.data_preparation as preparation

    folder = write_mnist(tmp_path / "mnist", compressed=True)
    monkeypatch.setattr(preparation, "MIRRORS", (f"file://{folder}/",))

    def copy(url: str, target: str, _: object) -> None:
        Path(target).write_bytes(Path(url.removeprefix("file://")).read_bytes())

    monkeypatch.setattr(pooch, "HTTPDownloader", lambda **_: copy)
    assert "hash" in said(Unavailable, open_app().load_data)
    digests = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in preparation.FILES}
    monkeypatch.setattr(preparation, "FILES", digests)
    assert open_app().load_data().examples == 32


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), "has no train-images-idx3-ubyte"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "is damaged"),
        (lambda file: file.write_bytes(b"\0\0"), "cannot be read"),
        (lambda file: file.write_bytes(b"<html>not found, sorry</html>"), "is damaged"),
        (lambda file: write_idx(file, np.zeros((3, 28, 28), np.uint8), False), "40 labels"),
    ],
    ids=["missing", "short", "empty", "other", "uneven"],
)
def test_damaged_files_are_named(tmp_path: Path, damage: Any, words: str) -> None:
    folder = write_mnist(tmp_path / "mnist", compressed=False)
    damage(folder / "train-images-idx3-ubyte")
    message = said(Invalid, open_app(f"dataset.root={folder}").load_data)
    assert words in message
    assert str(folder) in message


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "mnist", compressed=True)
    file = folder / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:20])
    assert "train-labels-idx1-ubyte.gz cannot be read" in said(
        Invalid, open_app(f"dataset.root={folder}").load_data
    )


def test_another_data_set_is_not_known() -> None:
    assert "knows 'MNIST' and 'digits'" in said(Invalid, open_app("dataset.name=CIFAR").load_data)


def test_the_digits_look_like_mnist() -> None:
    from fedopsmnist.data_preparation import read

    images, labels, _ = read("train", Dataset(name="digits"))
    assert (images.dtype, images.shape[1:], int(images.max())) == (np.uint8, (28, 28), 255)
    assert images[:, :2].max() == images[:, :, -2:].max() == 0
    assert set(labels.tolist()) == set(range(10))


# --- model -----------------------------------------------------------------------------------


def test_the_model_has_the_documented_size() -> None:
    adapter = open_app().make_adapter(1)
    specs = {spec.name: spec.shape for spec in adapter.contract.parameters}
    assert sum(int(np.prod(shape)) for shape in specs.values()) == 105_866
    assert specs["conv1.weight"] == (16, 1, 3, 3)
    assert specs["conv2.weight"] == (32, 16, 3, 3)
    assert open_app("model.output_size=3").make_adapter(1).contract.parameters[-1].shape == (3,)


def context(round_: int, seed: int) -> TrainContext:
    return TrainContext(round_, seed, epochs=1, batch_size=32, learning_rate=0.001)


def plain_training(seed: int, data: DataSplit) -> bytes:
    """What the app's own code does without FedOps."""
    from fedopsmnist.models import MNISTClassifier, train

    torch.manual_seed(seed)
    model = MNISTClassifier(10)
    train(model, data.train, 1, 32, 0.001, torch.device("cpu"), 5)
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def test_one_client_and_one_round_is_the_apps_own_training_to_the_bit() -> None:
    project = open_app("dataset.name=digits")
    adapter, data = project.make_adapter(1), project.load_data()
    adapter.train(data.train, context(1, 5))
    assert b"".join(a.tobytes() for a in adapter.get_tensors().values()) == plain_training(1, data)


def test_the_own_loop_and_the_default_one_agree(tmp_path: Path) -> None:
    """They are written alike, so without the app's steps the result is the same."""
    copied = tmp_path / "app"
    (copied / "fedopsmnist" / "conf").mkdir(parents=True)
    for file in ("__init__.py", "models.py", "data_preparation.py", "conf/config.toml"):
        (copied / "fedopsmnist" / file).write_bytes((APP / "fedopsmnist" / file).read_bytes())
    text = (
        (APP / "pyproject.toml").read_text().replace("train = ", "# ").replace("evaluate = ", "# ")
    )
    (copied / "pyproject.toml").write_text(text)
    results = []
    for folder in (APP, copied):
        project = Project.open(folder, ["dataset.name=digits"])
        adapter, data = project.make_adapter(1), project.load_data()
        trained = adapter.train(data.train, context(1, 5))
        judged = adapter.evaluate(data.validation, context(1, 5))
        results.append(
            (adapter.get_tensors()["fc2.weight"].tobytes(), trained.examples, judged.examples)
        )
        assert judged.metrics["accuracy"] > 0.5
    assert results[0] == results[1]


@pytest.mark.long  # in 'make test', the demo has to learn as well as this
@needs_mnist
def test_federated_averaging_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three unequal devices (Dirichlet 0.5), five rounds, on the 10,000 images of the subset."""
    monkeypatch.setenv("FEDOPS_MNIST_DIR", str(MNIST))
    seed = 42
    clients: dict[str, tuple[ModelAdapter, DataSplit]] = {}
    for index in range(3):
        project = open_app(
            f"random_seed={seed}",
            "dataset.partition.scheme=dirichlet",
            "dataset.partition.of=3",
            f"dataset.partition.index={index}",
        )
        clients[f"device-{index}"] = (project.make_adapter(seed), project.load_data())
    found = project.load_validation_data()
    assert found is not None
    model = project.make_adapter(seed)
    for round_ in range(1, 6):
        total = sum(data.examples for _, data in clients.values())
        mean = {name: np.zeros(array.shape) for name, array in model.get_tensors().items()}
        for device, (adapter, data) in clients.items():
            adapter.set_tensors(model.get_tensors())
            adapter.train(data.train, context(round_, client_seed(seed, device, round_)))
            for name, array in adapter.get_tensors().items():
                mean[name] += array.astype(np.float64) * (data.examples / total)
        model.set_tensors({name: array.astype(np.float32) for name, array in mean.items()})
    accuracy = model.evaluate(found[0], context(5, 1)).metrics["accuracy"]
    assert accuracy >= 0.88
