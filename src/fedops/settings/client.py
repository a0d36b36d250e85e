"""The settings of a Client Manager, and of a client app that Flower started."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedops.processes.log_output import LogFormat
from fedops.server_urls import normal_url
from fedops.settings.common import COMMON, MIB, Place, build, home_of


class ClientSettings(BaseSettings):
    """Of one Client Manager. Environment: ``FEDOPS_CLIENT_...``."""

    model_config = SettingsConfigDict(env_prefix="FEDOPS_CLIENT_", **COMMON)

    #: Where everything is kept.
    home: Place = Field(default_factory=lambda: home_of("client"))
    #: The Server Manager's URL; None: the one the device joined.
    server: str | None = None
    #: The address of the local ports.
    host: str = "127.0.0.1"
    #: The Client Manager's local port; the next free one if it is taken.
    port: int = Field(default=8004, ge=0, le=65_535)
    #: The training client's local port; the next free one if it is taken.
    training_port: int = Field(default=8003, ge=0, le=65_535)
    #: How long the training client may take to load its app, model and data, in seconds.
    start_seconds: float = Field(default=300.0, gt=0)
    #: How long a training client that crashed waits for its next start, in seconds; twice as long after
    #: each further crash.
    restart_seconds: float = Field(default=0.5, gt=0, le=30)
    #: How long a new commit may take to load its model and data, train one batch and evaluate, in seconds.
    trial_seconds: float = Field(default=600.0, gt=0)
    #: What a commit from the server runs in: ``own``, an environment of its own, of the packages that it asks
    #: for; ``shared``, the one of the Client Manager, whatever it asks for.
    environments: Literal["own", "shared"] = "own"
    #: How often a deployment that cannot go on is looked at, as when the disk is full, in seconds. Packages
    #: that the server has not chosen yet are asked for every three seconds or so.
    deploy_look_seconds: float = Field(default=30.0, gt=0)
    #: Upper limit of what waits on disk for the server, in bytes.
    spool_bytes: int = Field(default=256 * MIB, ge=MIB)
    #: Upper limit of the models that are kept to be used again, in bytes. The newest is always kept.
    model_bytes: int = Field(default=4_096 * MIB, ge=0)
    #: After how many days the device's credential is replaced by a new one.
    credential_days: float = Field(default=30.0, gt=0)
    #: Where systemd puts the credentials of a service; ``fedops-device`` in it is what ``device.json`` is.
    credentials_directory: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("credentials_directory", "CREDENTIALS_DIRECTORY"),
    )
    #: How the log is written: ``text`` for people, ``json`` for programs, one object a line.
    log_format: LogFormat = Field(
        default="text",
        validation_alias=AliasChoices(
            "log_format", "FEDOPS_LOG_FORMAT", "FEDOPS_CLIENT_LOG_FORMAT"
        ),
    )
    #: A file with the certificates of the authorities against which the server's certificate is checked;
    #: None: the usual ones.
    ca_file: Path | None = None

    @field_validator("server")
    @classmethod
    def _in_one_form(cls, given: str | None) -> str | None:
        return given and normal_url(given)


class AppSettings(BaseSettings):
    """Of a client app that Flower started. Environment: ``FEDOPS_SERVER``, ``FEDOPS_JOIN_TOKEN``, ..."""

    model_config = SettingsConfigDict(env_prefix="FEDOPS_", **COMMON)

    #: The Server Manager that this machine joins as a device.
    server: str | None = None
    #: The join token that enrols the machine, if it is new.
    join_token: str | None = Field(default=None, repr=False)
    #: The device's name; default: the host's.
    device_name: str | None = None
    #: The task to take part in.
    task_id: str | None = None


def client_settings(**given: Any) -> ClientSettings:
    """The client's settings; what is given (and not None) wins over the environment."""
    return build(ClientSettings, given)


def app_settings(**given: Any) -> AppSettings:
    """A client app's settings; what is given (and not None) wins over the environment."""
    return build(AppSettings, given)
