"""What this process runs on: the versions that a result may depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

#: Libraries that may change a number, by their names on PyPI.
LIBRARIES = (
    "fedops",
    "flwr",
    "keras",
    "ml-dtypes",
    "numpy",
    "peft",
    "safetensors",
    "scikit-learn",
    "scipy",
    "tensorflow",
    "torch",
    "torchvision",
    "transformers",
)


def describe_environment() -> dict[str, str]:
    """Python, platform, and each of ``LIBRARIES`` that is installed."""
    machine = {"python": platform.python_version(), "platform": platform.platform()}
    return {**machine, **library_versions()}


def library_versions() -> dict[str, str]:
    """Each of ``LIBRARIES`` that is installed. Imports none of them."""
    return {name: found for name in LIBRARIES if (found := _version(name))}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
