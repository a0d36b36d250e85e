"""Single settings over a config, as ``--set key=value`` gives them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from fedops.config.loading import dump_config, parse_config
from fedops.config.schema import Config
from fedops.core.errors import Invalid


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """The config with ``key.path=value`` settings applied in order, under the same checks.

    The value is TOML (``30``, ``true``, ``[1, 2]``, ``"text"``) or else a bare string; nothing
    (``key=``) puts the key back to its default.
    """
    data = dump_config(config)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(part for part in key.strip().split(".")):
            raise Invalid(f"the override '{override}' must read key=value, e.g. num_rounds=5")
        _assign(data, key.strip(), text.strip())
    return parse_config(data, "the overrides") if overrides else config


def _assign(data: dict[str, Any], key: str, text: str) -> None:
    *tables, last = key.split(".")
    table = data
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise Invalid(f"the override '{key}' goes into '{name}', which is a value, not a table")
    if text:
        table[last] = _value(text)
    else:
        table.pop(last, None)


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if len(table) == 1 else text
