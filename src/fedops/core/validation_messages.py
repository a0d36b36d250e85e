"""Sentences for what pydantic finds wrong in a file: the key, its value, what is allowed instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fedops.core.suggestions import comma_list, did_you_mean

REDACTED = "***"
_SECRETS = ("key", "token", "password", "secret")
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "list_type": "a list",
    "model_type": "a table",
    "dict_type": "a table",
    "finite_number": "a finite number",
}

#: An override that gives a secret, alone or within its table: up to the value, the value.
_SECRET_OVERRIDE = re.compile(
    r"""(^\s*wandb\.key\s*=\s*)(.+)$ | ((?<=[{,\s])key\s*=\s*)("[^"]*"|'[^']*')""",
    re.VERBOSE | re.DOTALL,
)


def without_secret(override: str) -> str:
    """A ``key=value`` override as it may be sent, stored and shown."""
    if not override.lstrip().startswith("wandb"):
        return override
    return _SECRET_OVERRIDE.sub(lambda m: f'{m[1] or m[3]}"{REDACTED}"', override)


def validation_messages(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """One sentence for each mistake; ``root`` is the model that was validated."""
    return [_sentence(detail, root) for detail in error.errors(include_url=False)]


def _sentence(detail: Any, root: type[BaseModel]) -> str:
    loc = [str(part) for part in detail["loc"]]
    key, value = ".".join(loc), detail["input"]
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key{_where_it_belongs(loc, root)}"
    if detail["type"] == "missing":
        return f"{key}: is missing"
    shown = key if isinstance(value, dict) else f"{key} = {_shown(loc, value)}"
    if detail["type"] == "literal_error":
        return f"{shown}: {_one_of(value, get_args(_annotation(loc, root)))}"
    return f"{shown}: {_problem(detail)}"


def _one_of(value: Any, allowed: Sequence[str]) -> str:
    guess = did_you_mean(value, allowed) if isinstance(value, str) else ""
    return f"must be {'one of ' if len(allowed) > 1 else ''}{comma_list(allowed)}{guess}"


def _problem(detail: Any) -> str:
    if detail["type"] in _KINDS:
        return f"must be {_KINDS[detail['type']]}"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if detail["type"] == "string_pattern_mismatch":
        return "must be 1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit"
    return re.sub(r"^(Input|Value|String|List) should", "must", str(detail["msg"]))


def _shown(loc: Sequence[str], value: Any) -> str:
    if any(word in loc[-1:] for word in _SECRETS):
        return REDACTED
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _where_it_belongs(loc: Sequence[str], root: type[BaseModel]) -> str:
    """The nearest spelling, or the table that does have such a key; and what is allowed here."""
    allowed = _keys(_section(loc[:-1], root))
    elsewhere = [path for path in _paths(root) if path.split(".")[-1] == loc[-1]]
    guess = did_you_mean(loc[-1], allowed)
    if not guess and elsewhere:
        guess = f"; did you mean '{elsewhere[0]}'?"
    table = f"in [{'.'.join(loc[:-1])}]" if len(loc) > 1 else "at the top"
    return f"{guess or ';'} allowed {table}: {comma_list(allowed)}"


def _keys(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _paths(section: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in section.model_fields.items():
        inner = _bare(field.annotation)
        found.append(prefix + (field.alias or name))
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _paths(inner, f"{prefix}{name}.")
    return found


def _section(loc: Sequence[str], root: type[BaseModel]) -> type[BaseModel]:
    annotation = _annotation(loc, root)
    return annotation if isinstance(annotation, type) else root


def _annotation(loc: Sequence[str], root: type[BaseModel]) -> Any:
    annotation: Any = root
    for part in loc:
        fields = getattr(annotation, "model_fields", {})
        annotation = _bare(fields[part].annotation) if part in fields else None
    return annotation


def _bare(annotation: Any) -> Any:
    """The annotation without ``| None`` and ``Annotated``."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(arg for arg in get_args(annotation) if arg is not type(None)))
    return annotation
