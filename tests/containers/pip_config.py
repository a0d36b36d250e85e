"""How pip reaches its packages on this machine, for the pip that works inside of a build."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: What is about the way to packages. The rest of a pip configuration is about the machine that it is on.
KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
    "prefer-binary",
    "only-binary",
)


@dataclass(frozen=True)
class PipConfig:
    """The text of a ``pip.conf``, and the folders and files of this machine that it speaks of."""

    text: str
    places: tuple[Path, ...]


def of_this_machine() -> PipConfig:
    """From pip's configuration files and the ``PIP_...`` variables."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = parse(listed)
    text = "".join(f"{key} = {' '.join(value.split())}\n" for key, value in settings.items())
    places = sorted({place for value in settings.values() for place in local_places(value)})
    return PipConfig(f"[global]\n{text}", tuple(places))


def parse(listed: str) -> Mapping[str, str]:
    """What ``pip config list`` says of ``KEYS``; the environment wins over files."""
    from_files: dict[str, str] = {}
    from_environment: dict[str, str] = {}
    for line in listed.splitlines():
        found = re.match(r"^(:env:|\w+)\.([\w-]+)=(.*)$", line)
        if found and found[2] in KEYS:
            target = from_environment if found[1] == ":env:" else from_files
            target[found[2]] = str(ast.literal_eval(found[3]))
    return from_files | from_environment


def local_places(value: str) -> Iterator[Path]:
    """What to show a build so that it finds the paths in a value: an index links to what is beside it."""
    for word in value.split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            yield path.parent if word.startswith("file://") else path
