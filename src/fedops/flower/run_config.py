"""The run config of an app's own ServerApp and ClientApps: the app's values, and what a run changes of them.

Stock Flower sends it to every node with the run. Here what a run changes travels with each message, in a
config record that the app never sees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fedops.config.file_names import may_name_a_file
from fedops.config.run_config import changed, flat
from fedops.config.schema import Config
from fedops.core.errors import Forbidden, Invalid
from fedops.storage.payloads import Payload

#: The record's name, and its one value.
RECORD, VALUES = "fedops-run-config", "json"
_WHERE = "the run's config"
#: Of the text. Characters.
_LONGEST = 100_000


def changes_of(config: Config, own: Mapping[str, Any]) -> dict[str, Any]:
    """What a config changes of the app's own run config. ``Invalid``: it may not."""
    return changed(own, flat(config.run_config or {}), _WHERE)


def record_of(changes: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The config record that goes along, by its name. Empty when nothing is changed."""
    return {RECORD: {VALUES: json.dumps(changes, sort_keys=True)}} if changes else {}


def taken_out(payload: Payload, own: Mapping[str, Any]) -> tuple[Payload, dict[str, Any]]:
    """The payload as the app sees it, and the run config that the message is to be answered under.

    Raises:
        Forbidden: it names a file, a folder or a URL, which only the app's own files may.
        Invalid: the app here has no such key, or its value is of another kind.
    """
    if RECORD not in payload.configs:
        return payload, dict(own)
    text = str(payload.configs[RECORD].get(VALUES, ""))
    found = changed(own, _read(text), _WHERE)
    for key, value in found.items():
        if may_name_a_file(f"run_config.{key}", value):
            raise Forbidden(
                f"{_WHERE}: run_config.{key} = '{value[:200]}' may name a file or a URL, and only this "
                "machine's own files may; write it in the app's pyproject.toml there"
            )
    others = {name: record for name, record in payload.configs.items() if name != RECORD}
    return Payload(payload.arrays, payload.metrics, others), {**own, **found}


def _read(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text) if len(text) <= _LONGEST else None
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise Invalid(f"{_WHERE}: what came with the message is no table of values")
    return values
