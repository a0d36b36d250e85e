"""MNIST, from a folder with the four IDX files, by download, or the small digits in its place."""

from __future__ import annotations

import gzip
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from fedops.app import Dataset, DataSplit, FedOpsError, Invalid, Unavailable, partition

log = logging.getLogger("fedopsmnist")

#: The IDX files and their sha256.
FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
PREFIXES = {"train": "train", "test": "t10k"}
#: Mean and standard deviation of MNIST's pixels.
MEAN, DEVIATION = 0.1307, 0.3081
_ADVICE = (
    "put the four IDX files into a folder and name it in FEDOPS_MNIST_DIR or [dataset] root, or set "
    '[dataset] fallback = "digits"'
)


def load_data(dataset: Dataset, seed: int) -> DataSplit:
    """The device's training examples: all of them, or its part under ``[dataset.partition]``."""
    images, labels, name = read("train", dataset)
    part = dataset.partition
    if part is not None and part.index is not None and part.of is not None:
        parts = partition(
            part.scheme,
            labels,
            part.of,
            seed,
            alpha=part.alpha,
            shards_per_client=part.shards_per_client,
        )
        images, labels = images[parts[part.index]], labels[parts[part.index]]
    return DataSplit(as_tensors(images, labels), dataset=name)


def load_validation_data(dataset: Dataset) -> DataSplit | None:
    """The test examples, on which the server judges the global model; None where they are not at hand."""
    try:
        images, labels, name = read("test", dataset)
    except Unavailable as error:
        log.warning("the global model is judged on the clients only: %s", error)
        return None
    return DataSplit(as_tensors(images, labels), dataset=name)


def as_tensors(images: np.ndarray, labels: np.ndarray) -> TensorDataset:
    """Grey values 0 to 255 as standardised float32 of shape (n, 1, 28, 28)."""
    scaled = (images.astype(np.float32) / 255.0 - MEAN) / DEVIATION
    return TensorDataset(
        torch.from_numpy(scaled.astype(np.float32)).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
    )


def read(part: str, dataset: Dataset) -> tuple[np.ndarray, np.ndarray, str]:
    """Images, labels, and the name of the data set they really come from. ``part``: train or test."""
    if dataset.name.lower() == "digits":
        return *read_digits(part), "digits"
    if dataset.name.lower() not in ("", "mnist"):
        raise Invalid(f"[dataset] name = '{dataset.name}': this app knows 'MNIST' and 'digits'")
    folder = os.environ.get("FEDOPS_MNIST_DIR") or dataset.root
    if folder:
        return *read_folder(Path(folder).expanduser(), part), "MNIST"
    try:
        return *read_folder(download(dataset.download), part), "MNIST"
    except FedOpsError as error:
        if dataset.fallback != "digits":
            raise
        log.warning("using scikit-learn's digits instead of MNIST: %s", error)
        return *read_digits(part), "digits"


def read_folder(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """One part of MNIST from a folder with its IDX files, compressed or not."""
    prefix = PREFIXES[part]
    images = read_idx(find(folder, f"{prefix}-images-idx3-ubyte"), 3)
    labels = read_idx(find(folder, f"{prefix}-labels-idx1-ubyte"), 1)
    if len(images) != len(labels) or images.shape[1:] != (28, 28):
        raise Invalid(
            f"{folder}: {prefix} has images of shape {images.shape} and {len(labels)} labels; "
            "MNIST has as many labels as images of 28x28"
        )
    return images, labels


def find(folder: Path, name: str) -> Path:
    """The file of this name, with or without ``.gz``, in either spelling that is about."""
    names = [name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz"]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise Invalid(f"{folder} has no {name} or {name}.gz; MNIST consists of four such files")


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """An IDX file of unsigned bytes."""
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        header = np.frombuffer(raw, dtype=">i4", count=1 + dimensions)
    except (OSError, EOFError, ValueError) as error:
        raise Invalid(f"{file} cannot be read: {error}") from None
    shape = tuple(int(size) for size in header[1:])
    body = raw[4 * (1 + dimensions) :]
    if header[0] != 0x0800 + dimensions or len(body) != int(np.prod(shape)):
        raise Invalid(f"{file} is damaged: it is no complete IDX file of {dimensions} dimensions")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def download(allowed: bool) -> Path:
    """The folder with MNIST's four files, fetched unless they are there, checked by their sha256."""
    try:
        import pooch  # only here, since who has the files needs no downloader
    except ModuleNotFoundError:
        raise Unavailable(
            f"MNIST is not here, and there is no downloader (pip install pooch); {_ADVICE}"
        ) from None
    cache = Path(pooch.os_cache("fedops-mnist"))
    if all((cache / name).is_file() for name in FILES):
        return cache
    if not allowed:
        raise Unavailable(f"there is no MNIST here, and [dataset] download = false; {_ADVICE}")
    problems = [problem for url in MIRRORS if (problem := _fetch(pooch, url, cache))]
    if len(problems) == len(MIRRORS):
        raise Unavailable(f"MNIST cannot be downloaded ({problems[0]}); {_ADVICE}")
    return cache


def _fetch(pooch: Any, url: str, cache: Path) -> str:
    """Fetch what is missing from one mirror. Returns what went wrong, else nothing."""
    registry = {name: f"sha256:{digest}" for name, digest in FILES.items()}
    source = pooch.create(path=cache, base_url=url, registry=registry, retry_if_failed=0)
    try:
        for name in FILES:
            source.fetch(name, downloader=pooch.HTTPDownloader(timeout=10))
    except Exception as error:  # whatever a network, a proxy or a full disk may raise
        return f"{url}: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
    return ""


def read_digits(part: str) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits of 8x8, scaled up to 28x28; every fifth is for testing."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise Invalid(
            "the digits come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from None
    bundle = load_digits()
    small = np.round(bundle.images * (255 / 16)).astype(np.uint8)
    images = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    held_out = np.arange(len(images)) % 5 == 4
    chosen = held_out if part == "test" else ~held_out
    return images[chosen], bundle.target[chosen].astype(np.uint8)
