"""Single settings over a config, as ``--set key=value`` gives them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from fedops.config import bounded_toml
from fedops.config.file_names import may_name_a_file
from fedops.config.loading import dump_config, parse_config
from fedops.config.run_config import changed, flat
from fedops.config.schema import Config
from fedops.core.errors import Invalid
from fedops.core.plain_values import leaves
from fedops.core.suggestions import comma_list

#: What a device may override of its own config; all else of a run is the run's.
DEVICE_TABLES = (
    "dataset",
    "resources",
    "script.examples",
    "script.max_seconds",
    "script.paths",
    "server.url",
    "wandb",
    "xai",
)
#: What no task and no run decides, with who does.
_NOT_OF_A_RUN = {
    "wandb": "each device reports to Weights & Biases by itself: say it there ('fedops client run --set"
    " wandb.use=true'), or in the app's config",
    "script": "only the app's own files say what is run ([script] in its config), and each device's owner"
    " where its data is ([script.paths] in device.toml)",
    "server.url": "a device knows its server since it joined ('fedops client run --server URL')",
    "task_id": "the task is the one that you name",
    "dataset.root": "each device knows where its data is ('fedops client run --set dataset.root=DIR', or the"
    " app's config)",
    "xai.output_dir": "each device knows where its pictures go ('fedops client run --set xai.output_dir=DIR',"
    " or the app's config)",
}


def refuse_of_device(overrides: Sequence[str]) -> None:
    """``Invalid`` for the first override of a task or run that only a device may decide."""
    for override in overrides:
        key, _, text = (part.strip() for part in override.partition("="))
        for path, value in [(key, None), *leaves(_value(text), key)]:
            _refuse_of_device(path, value)


def _refuse_of_device(path: str, value: Any) -> None:
    for table, who in _NOT_OF_A_RUN.items():
        if _is_in(path, table):
            raise Invalid(f"the override '{path}' does nothing here: {who}")
    if may_name_a_file(path, value):
        raise Invalid(
            f"the override '{path}' may name a file or a URL, and only the app's own files may: "
            "write it in the app's config"
        )


def refuse_of_run(overrides: Sequence[str]) -> None:
    """``Invalid`` for overrides of a device that would do nothing there: a run's config decides them."""
    keys = {_key_of(override) for override in overrides if not is_of_device(override)}
    others = sorted(keys - {"task_id"})  # which task it takes part in
    if others:
        raise Invalid(
            f"the override '{others[0]}' does nothing on a device: the run decides it ('fedops run start TASK"
            f" --set {others[0]}=...'); a device may override {comma_list(DEVICE_TABLES)}"
        )


def is_of_device(override: str) -> bool:
    """Whether a device's own override holds against a run's config."""
    return any(_is_in(_key_of(override), table) for table in DEVICE_TABLES)


def of_script(override: str) -> bool:
    """Whether it is one of a device whose app may have no script."""
    return _is_in(_key_of(override), "script")


def _key_of(override: str) -> str:
    return override.partition("=")[0].strip()


def _is_in(key: str, table: str) -> bool:
    return key == table or key.startswith(f"{table}.")


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """The config with ``key.path=value`` settings applied in order, under the same checks.

    The value is TOML (``30``, ``true``, ``[1, 2]``, ``"text"``) or else a bare string; nothing
    (``key=``) puts the key back to its default.
    """
    data = dump_config(config)
    for override in overrides:
        key, text = split_override(override)
        if key.count(".") >= bounded_toml.MAX_DEPTH:
            raise Invalid(
                f"the override '{key[:40]}...' has more than {bounded_toml.MAX_DEPTH} parts"
            )
        _assign(data, key, text)
    found = parse_config(data, "the overrides") if overrides else config
    if found.run_config != config.run_config:
        changed(flat(config.run_config or {}), flat(found.run_config or {}), "the overrides")
    return found


def split_override(override: str) -> tuple[str, str]:
    """Key and value. ``Invalid`` when it does not read ``key=value``."""
    key, equals, text = override.partition("=")
    if not equals or not all(part for part in key.strip().split(".")):
        raise Invalid(f"the override '{override[:200]}' must read key=value, e.g. num_rounds=5")
    return key.strip(), text.strip()


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
        table = bounded_toml.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if len(table) == 1 else text
