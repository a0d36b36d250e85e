"""What a FedOps 1 project's files say, read and never run: its config, and what it imports from FedOps 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedops.core.errors import Invalid
from fedops.scalize.legacy.stand_ins import PROVIDED

CLIENT, CONFIG = "client_main.py", Path("conf") / "config.yaml"
#: What to write in the place of what FedOps 2 does not have.
_INSTEAD = {
    "fedops.utils.fedco.datasetting": "[dataset.partition] in config.toml divides the data; remove it",
    "fedops.utils.fedxai": "FedOps 2 explains by [xai] in config.toml; remove it",
    "fedops.simulation": "simulate with 'fedops ci', or with mode = \"simulation\"",
    "fedops.client.client_wandb": "FedOps 2 reports by [wandb] in config.toml; remove it",
}
_ELSE = "FedOps 2 does this itself, or has nothing of the kind; remove it"
#: The largest file that is read.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Missing:
    """An import that FedOps 2 cannot satisfy."""

    where: str  #: file:line
    name: str
    instead: str

    def __str__(self) -> str:
        return f"{self.where}: '{self.name}' of FedOps 1 is not in FedOps 2: {self.instead}"


def is_old_project(project: Path) -> bool:
    """Whether a folder holds a FedOps 1 project: a client program that imports its client, and a config."""
    program = project / CLIENT
    return program.is_file() and (project / CONFIG).is_file() and any(_of_fedops(program))


def missing_imports(files: list[Path], project: Path) -> list[Missing]:
    """Every import from FedOps 1 that FedOps 2 cannot satisfy, in the order of files and lines."""
    found = []
    for file in files:
        for line, module, name in _of_fedops(file):
            if _is_provided(module, name):
                continue
            dotted = f"{module}.{name}" if name else module
            where = f"{file.relative_to(project).as_posix()}:{line}"
            found.append(Missing(where, dotted, _instead(module)))
    return found


def _of_fedops(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of every import from ``fedops``. A file that is no Python has none."""
    try:
        tree = ast.parse(file.read_bytes()[:_MOST_BYTES])
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and _is_old(node.module or ""):
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, a.name, "") for a in node.names if _is_old(a.name))


def _is_old(module: str) -> bool:
    return module == "fedops" or module.startswith("fedops.")


def _is_provided(module: str, name: str) -> bool:
    return (
        f"{module}.{name}" in PROVIDED or module == "fedops.app" or name in PROVIDED.get(module, ())
    )


def _instead(module: str) -> str:
    return next((text for start, text in _INSTEAD.items() if module.startswith(start)), _ELSE)


# --- conf/config.yaml ----------------------------------------------------------------------------


def read_config(project: Path) -> dict[str, Any]:
    """``conf/config.yaml`` as plain values, its ``${...}`` filled in where that can be done.

    Raises:
        Invalid: it is no YAML, or no table.
    """
    from omegaconf import OmegaConf  # only here: init of other projects need not wait for it
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    file = project / CONFIG
    if file.stat().st_size > _MOST_BYTES:
        raise Invalid(f"{file} is larger than {_MOST_BYTES >> 20} MiB")
    try:
        loaded = OmegaConf.load(file)
        try:
            plain: Any = OmegaConf.to_container(loaded, resolve=True)
        except OmegaConfBaseException:  # one that only hydra or the environment can fill in
            plain = OmegaConf.to_container(loaded)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise Invalid(f"{file} cannot be read: {first}") from None
    if not isinstance(plain, dict):
        raise Invalid(f"{file} must be a table of keys and values")
    return {str(key): value for key, value in plain.items()}


def line_of(project: Path, key: str) -> str:
    """``conf/config.yaml:12`` for the line that begins with this key at the top, or the file alone."""
    text = (project / CONFIG).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.split(":")[0].strip("'\" ") == key and not line[:1].isspace():
            return f"{CONFIG.as_posix()}:{number}"
    return CONFIG.as_posix()


def table(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return dict(value) if isinstance(value, dict) else {}
