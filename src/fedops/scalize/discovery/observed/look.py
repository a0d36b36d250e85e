"""A command of the user's own, and what was seen of one run of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedops.scalize.discovery.observed.epoch_option import EpochOption
from fedops.scalize.observing.records import Seen


@dataclass(frozen=True)
class Look:
    """What there is to decide from."""

    #: The project's folder, in which the command was run.
    project: Path
    command: tuple[str, ...]
    seen: Seen
    #: The models as training first saw them, a safetensors file.
    tensors: Path
    option: EpochOption | None = None
    evaluation_mode: bool = False
    #: How long a run may take.
    max_seconds: float = 1800.0


def shown(command: Sequence[str]) -> str:
    """The command as a person would type it."""
    return shlex.join(command)
