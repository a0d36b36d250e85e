"""Configs as text: TOML without what is secret, and where several of them differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedops.core.redaction import HIDDEN, names_a_secret, redact

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def as_toml(config: Mapping[str, Any]) -> str:
    """A config as a TOML file. Secrets are hidden; None is left out, as TOML has no word for it."""
    return "\n".join(_lines(config, "")).strip() + "\n"


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Its settings by their dotted names, each as TOML writes it."""
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{_key(key)}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{name}.")
        elif value is not None:
            found[name] = _shown(name, value)
    return found


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    """The settings that are not the same in all of these configs, by name; None where there is none."""
    all_flat = [flat(config) for config in configs]
    names = sorted({name for one in all_flat for name in one})
    rows = {name: [one.get(name) for one in all_flat] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _lines(table: Mapping[str, Any], path: str) -> Iterator[str]:
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    plain = {k: v for k, v in table.items() if k not in tables and v is not None}
    if path and (plain or not tables):
        yield ""
        yield f"[{path}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_shown(f'{path}.{key}', value)}"
    for key, value in tables.items():
        yield from _lines(value, f"{path}.{_key(key)}" if path else _key(key))


def _shown(name: str, value: Any) -> str:
    last = name.rpartition(".")[2].strip('"')
    if value not in ("", None) and (names_a_secret(last) or name == "wandb.key"):
        return json.dumps(HIDDEN)
    return _value(value)


def _key(key: str) -> str:
    return key if key and set(key) <= _BARE else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, Mapping):
        inside = (f"{_key(k)} = {_shown(k, v)}" for k, v in value.items() if v is not None)
        return "{ " + ", ".join(inside) + " }" if value else "{}"
    if isinstance(value, str):
        return json.dumps(redact(value), ensure_ascii=False)
    return str(value)
