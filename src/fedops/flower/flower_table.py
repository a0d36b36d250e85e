"""What an app's ``pyproject.toml`` says to Flower: ``[tool.flwr.app]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedops.config.loading import read_toml
from fedops.config.run_config import flat


@dataclass(frozen=True)
class FlowerTable:
    """``[tool.flwr.app]`` of an app."""

    clientapp: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    serverapp: str = ""

    @classmethod
    def of(cls, app_dir: Path) -> FlowerTable:
        table: Any = read_toml(app_dir / "pyproject.toml")
        for key in ("tool", "flwr", "app"):
            table = table.get(key, {}) if isinstance(table, dict) else {}
        components = table.get("components", {})
        return cls(
            str(components.get("clientapp", "")),
            flat(table.get("config", {})),
            str(components.get("serverapp", "")),
        )
