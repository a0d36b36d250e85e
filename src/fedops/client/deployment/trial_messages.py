"""Between the Client Manager and the process that tries a commit. They may be of different releases."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fedops.client.local.messages import LOCAL_PROTOCOL
from fedops.core.contracts.base import Report
from fedops.core.contracts.confinement import Confinement


class TrialArgs(Report):
    """What the process is started with, in a file: an override may hold a secret."""

    protocol: int = LOCAL_PROTOCOL
    #: Where ``device.toml`` is.
    home: Path
    device: str
    app_dir: Path
    overrides: list[str] = Field(default_factory=list)
    confinement: Confinement | None = None
    #: The newest model, a safetensors file.
    model: Path | None = None
    #: Whether to train a batch; if not, the model is evaluated only.
    trains: bool = True
    #: The packages whose versions are to be said.
    named: list[str] = Field(default_factory=list)


class TrialAnswer(Report):
    """How it went. ``problem``: what is wrong, and what to do."""

    problem: str = ""
    fingerprint: str = ""
    #: Of the newest model, if there is one and it fits.
    metrics: dict[str, float] = Field(default_factory=dict)
    #: On how many examples it was trained.
    trained: int = 0
    #: The versions of what the app is made with, as its own process sees them.
    packages: dict[str, str] = Field(default_factory=dict)
