"""The command of a script as this device runs it: with its own paths, interpreter and resources."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedops.config.schema import Resources
from fedops.config.script_table import Script
from fedops.core.errors import Invalid
from fedops.processes.spawn import clean_env
from fedops.scalize.adapter.accelerators import VISIBLE
from fedops.scalize.observing.command_variables import variables_of
from fedops.scalize.observing.notebooks import named_notebook

_PYTHON = re.compile(r"python(\d+(\.\d+)*)?w?(\.exe)?")
#: What the libraries that compute on the CPU read their number of threads from.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Command:
    """What is started, and with which environment."""

    words: tuple[str, ...]
    env: Mapping[str, str]


def command_here(script: Script, resources: Resources, project: Path) -> Command:
    """The command for this device. ``project``: the folder that its relative paths start from.

    Raises:
        Invalid: a path or the program is not here, with what to write or install.
    """
    env = environment(resources)
    places = {name: _place(name, place, project) for name, place in script.paths.items()}
    given, words = variables_of([_filled(word, places) for word in script.command])
    env.update(given)
    if named_notebook(words):
        return Command(tuple(words), env)  # this environment's Python runs its cells
    return Command((_program(words[0], project, env["PATH"]), *words[1:]), env)


def _place(name: str, place: str, project: Path) -> str:
    """A path of the command, as it holds in the folder that the command is run in."""
    path = Path(place).expanduser()
    if not (project / path).exists():
        raise Invalid(
            f"the command reads {{{name}}}, which is not here ({place} does not exist): this device's owner"
            f' writes {name} = "/path/of/it" under [script.paths] in device.toml'
        )
    return str(path)


def _filled(word: str, places: Mapping[str, str]) -> str:
    """Names in braces that are no paths stay: some commands have a syntax of their own."""
    return re.sub(r"\{(\w+)\}", lambda found: places.get(found[1], found[0]), word)


def _program(word: str, project: Path, path: str) -> str:
    """The interpreter of the environment that this process runs in; another program where it lies."""
    if _PYTHON.fullmatch(Path(word).name):
        return sys.executable
    if "/" in word and (project / word).exists():
        return word
    found = shutil.which(word, path=path)
    if found is None:
        raise Invalid(
            f"the command begins with '{word}', which is not here: install it into the environment that the"
            f" training client runs in ({Path(sys.executable).parent})"
        )
    return found


def environment(resources: Resources) -> dict[str, str]:
    """As in any training, with what ``[resources]`` allows.

    Loggers stay off the network unless the device's owner says otherwise: nobody is there to log in.
    """
    env = clean_env()
    env.setdefault("WANDB_MODE", "offline")
    if resources.threads is not None:
        env.update(dict.fromkeys(_THREADS, str(resources.threads)))
    asked = resources.accelerator
    if asked == "cpu":
        env[VISIBLE] = ""
    elif asked.startswith("cuda:"):
        env[VISIBLE] = _device(asked.removeprefix("cuda:"), env.get(VISIBLE))
    return env


def _device(index: str, visible: str | None) -> str:
    """As the machine counts; whoever sees one device only has been given the right one."""
    return visible if visible and len(visible.split(",")) == 1 else index


def not_honoured(resources: Resources) -> str:
    """What of ``[resources]`` a command cannot be held to; "" when that is nothing."""
    if resources.accelerator == "mps":
        return "the command itself chooses whether it uses Apple's GPU: accelerator = 'mps' is not enforced"
    if resources.accelerator_memory_mb is not None:
        return (
            "the command itself decides how much of the accelerator's memory it takes: accelerator_memory_mb"
            " is not enforced"
        )
    return ""
