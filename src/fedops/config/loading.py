"""Config files and tables from the network as checked sections, with messages that name every mistake."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedops.config import bounded_toml
from fedops.config.schema import Config
from fedops.core.errors import Invalid
from fedops.core.validation_messages import REDACTED, validation_messages

S = TypeVar("S", bound=BaseModel)


def load_config(path: Path) -> Config:
    """Read and check a config file.

    Raises:
        Invalid: it is missing, no TOML, or holds unknown keys or wrong values (all named at once).
    """
    return parse_config(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain values. ``Invalid`` names the file and the line."""
    try:
        return bounded_toml.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Invalid(f"there is no file {path}") from None
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Invalid(f"{path} is no TOML file: it is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path} is no valid TOML: {error}") from None


def parse_config(data: Mapping[str, Any], where: str) -> Config:
    """Check plain values; ``where`` (a file, "the overrides") opens the message when they are wrong."""
    config = parse_section(Config, data, where)
    refuse([f"{key}: must be a finite number" for key in _not_finite(data)], where)
    return config


def parse_section(section: type[S], data: Mapping[str, Any], where: str) -> S:
    """``data`` as a model of type ``section``. ``Invalid`` names every mistake at once."""
    try:
        return section.model_validate(dict(data))
    except ValidationError as error:
        refuse(validation_messages(error, section), where)
        raise


def refuse(mistakes: Sequence[str], where: str) -> None:
    """Raise one ``Invalid`` for all mistakes, if there are any."""
    if len(mistakes) == 1:
        raise Invalid(f"{where}: {mistakes[0]}")
    if mistakes:
        raise Invalid("\n  ".join([f"mistakes in {where}:", *mistakes]))


def to_plain(config: Config) -> dict[str, Any]:
    """JSON-safe values, fit to be stored, sent and shown: secrets are redacted."""
    plain = dump_config(config)
    if config.wandb.key:
        plain["wandb"]["key"] = REDACTED
    return plain


def dump_config(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def _not_finite(value: Any, path: str = "") -> list[str]:
    if isinstance(value, float) and not math.isfinite(value):
        return [path]
    items = value.items() if isinstance(value, Mapping) else ()
    pairs = list(enumerate(value)) if isinstance(value, list) else list(items)
    return [bad for key, item in pairs for bad in _not_finite(item, f"{path}.{key}".lstrip("."))]
