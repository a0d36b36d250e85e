"""An app of plain Flower, as ``flwr new`` makes it: a ClientApp, a ServerApp, and nothing of FedOps.

It plays its own rounds with its own strategy and run config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedops.core.errors import Invalid


def is_plain_flower(pyproject: Mapping[str, Any]) -> bool:
    """Whether the ``pyproject.toml`` names Flower's components and has no word for FedOps."""
    return "fedops" not in _table(pyproject, "tool") and bool(_components(pyproject))


def packages_of(pyproject: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The packages or modules that hold the app's components.

    Raises:
        Invalid: one of the two is missing, or is no ``module:name``.
    """
    components = _components(pyproject)
    found = []
    for key in ("serverapp", "clientapp"):
        reference = str(components.get(key, ""))
        module, colon, name = reference.partition(":")
        if not (module and colon and name):
            said = f'is "{reference}"' if reference else "is missing"
            raise Invalid(
                f'{where} [tool.flwr.app.components]: {key} {said}, and must be "<module>:<name>"'
            )
        found.append(module.partition(".")[0])
    return tuple(dict.fromkeys(found))


def run_config_of(pyproject: Mapping[str, Any]) -> dict[str, Any]:
    """``[tool.flwr.app.config]``, with its tables."""
    return _table(_app(pyproject), "config")


def _components(pyproject: Mapping[str, Any]) -> dict[str, Any]:
    return _table(_app(pyproject), "components")


def _app(pyproject: Mapping[str, Any]) -> dict[str, Any]:
    return _table(_table(_table(pyproject, "tool"), "flwr"), "app")


def _table(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key, {})
    return value if isinstance(value, dict) else {}
