"""What may be a step of a project, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedops.scalize.discovery.source.definitions import Parameter


@dataclass(frozen=True)
class Choice:
    """What one step is to be, and why."""

    step: str
    target: str = ""  #: empty: the adapter's own loop
    reason: str = ""
    #: Arguments to be written in the config.
    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: Parameters nobody can fill.
    missing: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()  #: which are as likely as ``target``
    module: str = ""
    takes: frozenset[str] = frozenset()  #: keys of offers it asks for


@dataclass(frozen=True)
class Candidate:
    score: int
    target: str
    module: str
    place: str
    why: str
    parameters: tuple[Parameter, ...]
    framework: str = ""
    open_ended: bool = False
    #: What may only be taken where there is nothing better: a private helper, an abstract base.
    doubtful: bool = False


def folded(name: str) -> str:
    return name.replace("_", "").lower()
