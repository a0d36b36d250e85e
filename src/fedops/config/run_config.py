"""``[run_config]``: what an app of plain Flower finds in its run config (``[tool.flwr.app.config]``).

A table in it is one to Flower too: its values are named with dots (``strategy.fraction``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean

Value = bool | int | float | str
#: How many keys there may be, and how long a text. Flower's own apps have about ten.
_MOST_KEYS, _LONGEST = 1_000, 10_000


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of Flower's run config: tables in it become names with dots."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": inner for name, inner in flat(value).items()}
        else:
            found[key] = value
    return found


def _of_plain_values(table: dict[str, Any]) -> dict[str, Any]:
    values = flat(table)
    if len(values) > _MOST_KEYS:
        raise ValueError(f"may have {_MOST_KEYS} keys at most")
    for key, value in values.items():
        if not isinstance(value, Value):
            raise ValueError(f"{key}: must be a number, a text, true or false")
        if isinstance(value, str) and len(value) > _LONGEST:
            raise ValueError(f"{key}: may have {_LONGEST} characters at most")
    return table


RunConfig = Annotated[dict[str, Any], AfterValidator(_of_plain_values)]


def changed(own: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What ``wanted`` changes of the app's own values, both with names with dots.

    Raises:
        Invalid: the app has no such key, or its value is of another kind, which Flower refuses too.
    """
    found = {}
    for key, value in wanted.items():
        if key not in own:
            short = did_you_mean(key, own) or f"; it has: {comma_list(own) or 'none'}"
            raise Invalid(f"{where}: the app's run config has no '{key}'{short}")
        kind = type(own[key])
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits:
            raise Invalid(f"{where}: '{key}' must be of the kind of {own[key]!r}, and is {value!r}")
        if value != own[key]:
            found[key] = kind(value)
    return found
