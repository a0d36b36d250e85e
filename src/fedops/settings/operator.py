"""The settings of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedops.settings.common import COMMON, build, home_of


class CliSettings(BaseSettings):
    """Of the command line. Environment: ``FEDOPS_SERVER``, ``FEDOPS_TOKEN``, ``FEDOPS_MNIST_DIR``, ..."""

    model_config = SettingsConfigDict(env_prefix="FEDOPS_", **COMMON)

    #: The Server Manager that operators' commands talk to.
    server: str | None = None
    #: The token they use.
    token: str | None = None
    #: Where ``fedops login`` keeps the server and the token.
    login_file: Path = Field(default_factory=lambda: home_of("cli.json"))
    #: A folder with the four IDX files of MNIST.
    mnist_dir: Path | None = None


def cli_settings(**given: Any) -> CliSettings:
    """The command line's settings; what is given (and not None) wins over the environment."""
    return build(CliSettings, given)
