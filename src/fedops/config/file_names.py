"""Which settings may name a file, a folder or a URL: what no config from the network decides."""

from __future__ import annotations

import re
from typing import Any

#: Tables whose values reach an app's code, or a library's, as arguments.
ARGUMENT_TABLES = (
    "data",
    "train",
    "evaluate",
    "validation",
    "model",
    "optimizer",
    "loss",
    "run_config",
)
_KEY = re.compile(r"(^|_)(path|file|filename|dir|directory|folder|root|url|uri)s?($|_)")
_VALUE = re.compile(r"[/\\]|^[~.]|^[a-zA-Z]:|://|\.[a-zA-Z]\w{0,6}$")


def may_name_a_file(path: str, value: Any) -> bool:
    """Whether the value at this key path (``data.cache_dir``) may lead to a file, a folder or a URL."""
    table, *keys = path.split(".")
    if not isinstance(value, str) or not value or keys[-1:] == ["_target_"]:
        return False
    if path == "dataset.name":
        return _VALUE.search(value) is not None
    if table not in ARGUMENT_TABLES or not keys:
        return False
    return _VALUE.search(value) is not None or any(
        _KEY.search(key.replace("-", "_")) for key in keys
    )
