"""Finds the adapter of a model among the entry points ``fedops.adapters``, by name or by the model.

A framework is recognised by the packages in which the model's classes are defined, so that looking
imports no framework.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list

#: Package of a base class -> adapter; the first that fits any base class is taken.
_PACKAGES = {
    "peft": "huggingface",
    "transformers": "huggingface",
    "keras": "keras",
    "tf_keras": "keras",
    "torch": "pytorch",
    "sklearn": "sklearn",
}
#: What to install for which adapter, where the names differ.
_EXTRAS = {"pytorch": "torch"}


def find_adapter(name: str | None, model: Any, label: str) -> Any:
    """The adapter class called ``name``, or the one that fits ``model``.

    Raises:
        Invalid: nothing fits, it is not installed, or its framework is not.
    """
    wanted = name or detect(model)
    known = {entry.name: entry for entry in entry_points(group="fedops.adapters")}
    if wanted is None:
        raise Invalid(
            f"{label} gave a {type(model).__name__}, which is no model of a known framework; "
            f"model_type can name one of {comma_list(known)}"
        )
    if wanted not in known:
        raise Invalid(f"no adapter for {wanted} is installed; installed are {comma_list(known)}")
    try:
        return known[wanted].load()
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(wanted, wanted)
        raise Invalid(
            f"the {wanted} adapter needs {error.name}, which is not installed: "
            f'pip install "fedops[{extra}]"'
        ) from None


def detect(model: Any) -> str | None:
    """The framework of a model, seen from its classes."""
    packages = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    return next((adapter for package, adapter in _PACKAGES.items() if package in packages), None)
