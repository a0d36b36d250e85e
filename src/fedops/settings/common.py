"""What all settings have in common: how they are read, and what is said of a wrong one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedops.core.errors import Invalid

MIB = 1 << 20
S = TypeVar("S", bound=BaseSettings)
COMMON = SettingsConfigDict(
    extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
)


def _absolute(path: Path) -> Path:
    """Children of a program have other working directories."""
    return Path(os.path.abspath(path.expanduser()))


#: A folder or file, the same whatever the working directory becomes.
Place = Annotated[Path, AfterValidator(_absolute)]


def home_of(name: str) -> Path:
    """Where a program keeps what is its own, unless it is told another place."""
    return Path("~/.fedops").expanduser() / name


def build(kind: type[S], given: dict[str, Any]) -> S:
    """Settings of what is given (and not None), else of the environment. ``Invalid`` names each wrong one."""
    try:
        return kind(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        lines = [f"{_where(kind, item['loc'])}: {item['msg']}" for item in error.errors()]
        raise Invalid("settings: " + "; ".join(lines)) from None


def _where(kind: type[BaseSettings], loc: tuple[int | str, ...]) -> str:
    name = str(loc[0]) if loc else "settings"
    prefix = kind.model_config.get("env_prefix", "")
    return f"{name} (environment: {prefix}{name.upper()})"
