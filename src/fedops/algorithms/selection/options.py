"""The options of a selector: fields of its class with bounds, read from a config, with one message each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, field, fields
from typing import Any

from fedops.core.suggestions import comma_list, did_you_mean


def option(default: Any, *, least: float | None = None, most: float | None = None) -> Any:
    """A field of a selector that a config may set, within these bounds."""
    return field(default=default, metadata={"least": least, "most": most})


def mistakes_in(selector: type, given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the options that a config gives a selector, one sentence each."""
    known: dict[str, Field[Any]] = {one.name: one for one in fields(selector)}
    for name, value in given.items():
        if name not in known:
            guess = did_you_mean(name, known) or ";"
            yield f"{name}: unknown option{guess} allowed: {comma_list(known) or 'none'}"
        elif why := _problem(known[name], value):
            yield f"{name} = {_shown(value)}: must be {why}"


def _problem(one: Field[Any], value: Any) -> str:
    """What the value must be, if it is not."""
    if isinstance(one.default, bool):
        return "" if isinstance(value, bool) else "true or false"
    whole = isinstance(one.default, int)
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    least, most = one.metadata["least"], one.metadata["most"]
    within = is_number and (least is None or value >= least) and (most is None or value <= most)
    return "" if within else f"a {'whole ' if whole else ''}number{_range(least, most)}"


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    return "" if least is None else f" of at least {least:g}"


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
