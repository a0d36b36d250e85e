"""A project's own files of settings, as the objects that its code takes: what ``[train.config]`` may name.

``file_`` and ``folder_`` are seen from the project's folder. Whatever else a table of the config has takes
the place of what the file says there: ``epochs = 1`` beside ``file_ = "config.yaml"``.
"""

from __future__ import annotations

import json
import tomllib
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedops.core.errors import Invalid

#: A file with more bytes holds data rather than settings.
MOST_BYTES = 1 << 20


def as_dict(file_: str, section_: str = "", **changes: Any) -> Any:
    """A YAML, JSON or TOML file; ``section_``: a part of it by its path, such as ``"train.optimizer"``.

    Raises:
        Invalid: there is no such file, it is none of these, or has no such part.
    """
    content = read_settings(Path(file_))
    return changed(_section(content, section_, file_), changes)


def as_namespace(file_: str, section_: str = "", **changes: Any) -> Namespace:
    """The same, its settings by attribute: ``Namespace(**settings)``. ``Invalid``: as ``as_dict``."""
    return Namespace(**_table(as_dict(file_, section_, **changes), file_))


def namespace(none_: Sequence[str] = (), **settings: Any) -> Namespace:
    """The options of a command line by attribute. ``none_``: those that are None, which TOML cannot say."""
    return Namespace(**dict.fromkeys(none_), **settings)


def as_omegaconf(file_: str, section_: str = "", **changes: Any) -> Any:
    """The same as OmegaConf loads it, interpolations included. ``Invalid``: as ``as_dict``."""
    return _selected(load_omegaconf(file_), section_, changes, file_)


def load_omegaconf(file_: str) -> Any:
    """OmegaConf reads YAML by rules of its own: ``1e-3`` is a number. ``Invalid``: it cannot be read."""
    content = _table(read_settings(Path(file_)), file_)
    if not file_.endswith((".yaml", ".yml")):
        return OmegaConf.create(content)
    try:
        return OmegaConf.load(file_)
    except (OmegaConfBaseException, ValueError, yaml.YAMLError) as error:
        raise Invalid(f"{file_} cannot be read: {str(error).splitlines()[0][:300]}") from None


def from_hydra(folder_: str, name_: str, section_: str = "", **changes: Any) -> Any:
    """What ``@hydra.main(config_path=folder_, config_name=name_)`` gives its function.

    Raises:
        Invalid: Hydra cannot compose it, or it has no such part.
    """
    return _selected(composed(Path(folder_), name_), section_, changes, f"{folder_}/{name_}")


def composed(folder: Path, name: str) -> DictConfig:
    """A config of Hydra's, of its default groups. ``Invalid``: Hydra cannot compose it."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    former = GlobalHydra.instance().hydra
    try:
        with initialize_config_dir(str(folder.resolve()), version_base=None):
            return compose(name)
    except (HydraException, ValueError, OSError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise Invalid(f"{folder / name}: Hydra cannot compose this config: {text}") from None
    finally:
        GlobalHydra.instance().hydra = former


def read_settings(file: Path) -> Any:
    """What a YAML, JSON or TOML file says, as plain values. ``Invalid``: it cannot be read."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise Invalid(f"{file}: it is too large for a file of settings")
        text = file.read_text(encoding="utf-8")
        match file.suffix:
            case ".json":
                return json.loads(text)
            case ".toml":
                return tomllib.loads(text)
            case _:
                return yaml.safe_load(text)
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Invalid(f"{file} cannot be read: {str(error).splitlines()[0][:300]}") from None


def changed(content: Any, changes: Mapping[str, Any]) -> Any:
    """The settings with some of them changed, however deep. Nothing given is changed itself."""
    if not changes:
        return content
    if not isinstance(content, Mapping):
        raise Invalid("what is no table of settings cannot be changed by names")
    deeper = {
        key: changed(content[key], value)
        if isinstance(value, Mapping) and isinstance(content.get(key), Mapping)
        else value
        for key, value in changes.items()
    }
    return {**content, **deeper}


def _section(content: Any, path: str, file: str) -> Any:
    for part in path.split(".") if path else ():
        if not isinstance(content, Mapping) or part not in content:
            raise Invalid(f"{file} has no '{path}'")
        content = content[part]
    return content


def _table(content: Any, file: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise Invalid(f"{file} is no table of settings")
    return {str(key): value for key, value in content.items()}


def _selected(loaded: DictConfig, path: str, changes: Mapping[str, Any], file: str) -> Any:
    """Interpolations of a part may lead out of it, so it is taken from the whole."""
    whole = OmegaConf.create(OmegaConf.to_container(loaded))
    for part in reversed(path.split(".") if path else []):
        changes = {part: changes}
    whole = OmegaConf.merge(whole, dict(changes)) if changes else whole
    OmegaConf.set_struct(whole, OmegaConf.is_struct(loaded))
    found = OmegaConf.select(whole, path) if path else whole
    if found is None:
        raise Invalid(f"{file} has no '{path}'")
    return found
