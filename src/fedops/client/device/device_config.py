"""``device.toml``: what the owner of this device allows. Never changed from outside.

It bounds what a task's config may ask: a value beyond a limit is lowered, an upload that is not allowed is
not made.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from fedops.config.schema import AcceleratorName
from fedops.core.contracts import SERVING, RecordKind
from fedops.core.contracts.base import NAME_PATTERN
from fedops.core.errors import Conflict, Invalid
from fedops.core.reasons.conditions import Conditions
from fedops.core.validation_messages import validation_messages

DEFAULT_TEXT = """\
# What the owner of this device allows. No server can change this file.
# It is read when the Client Manager starts. Every key is optional; the values shown are the defaults.

[limits]
# threads = 0          # CPU threads of the training client; 0: as many as it likes
# max_epochs = 0       # local epochs a round; a task that asks for more gets this many; 0: no limit
# max_batch_size = 0   # 0: no limit
# memory_mb = 0        # the training client is ended when it uses more; 0: no limit
# processes = 0        # of its user, threads too; 0: no limit, or 4096 with a user of its own
# user = ""            # the user as whom the training client runs, such as "fedops-train"; needs root
# confine = false      # hide FedOps' files and your keys from it (Linux; see docs/explanation/security.md)
# accelerator = "auto"        # where models are trained: "auto", "cpu", "cuda", "cuda:1", "mps"
# accelerator_memory_mb = 0   # of the accelerator, all tasks together (PyTorch); 0: no limit
# nice = 0             # 0 (normal) to 19 (only what nothing else wants)
# assignments = 1      # how many pieces of work it takes on at once

[uploads]
# explanations = "none"   # what may leave of explanations: "none", "scores" or "images"
# logs = true             # the training client's log lines
# telemetry = true        # CPU, memory, disk, network, GPU, battery

[conditions]               # while one is not met, the device takes no new work; what is not known is not met
# charging = false        # only on mains
# battery_percent = 0     # only with this much left in the battery
# unmetered = false       # only on a network that is not metered (Linux with NetworkManager)
# memory_mb = 0           # only with this much memory free
# hours = ""              # only then, such as "22:00-06:00", by this device's clock

[deploy]                   # of a Client Manager that was started without --app
# source = "server"       # where the code of its task comes from: "server", or "local": a folder of your own
# folder = ""             # with "local": the app's folder, which FedOps never changes
# approve = false         # new code runs here only after 'fedops client approve'
# allowed_signers = ""    # a file as ssh-keygen has it: only commits that one of these has signed run here
# upgrade = false         # install the server's release of FedOps when an operator asks for that

[serving]                  # the model for your own programs on this device
# folder = ""             # where model.safetensors and model.json go, such as "/srv/model"; "": nowhere
# command = []            # run after each new version, such as ["systemctl", "reload", "my-app"]; no shell
# command_seconds = 60    # how long it may take
# task = ""               # whose model; "": the task that the device takes part in
# alias = "serving"       # which version: the one that this alias names

[script.paths]             # where {data} and the like in an app's own command are, such as data = "/srv/data"

[node_config]              # what an app of plain Flower finds there, such as data-path = "/srv/data"

[network]
# proxy = ""              # to the server: http://, https:// or socks5://HOST:PORT, or "environment"
"""

_NOT_NEGATIVE = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Limits(_Section):
    """Zero means no limit, but for ``nice`` and ``assignments``; "auto" means no choice."""

    threads: _NOT_NEGATIVE = 0
    max_epochs: _NOT_NEGATIVE = 0
    max_batch_size: _NOT_NEGATIVE = 0
    memory_mb: _NOT_NEGATIVE = 0
    processes: _NOT_NEGATIVE = 0
    user: Annotated[str, Field(pattern=r"^([a-z_][a-z0-9_-]{0,31})?$")] = ""
    confine: bool = False
    accelerator: AcceleratorName = "auto"
    accelerator_memory_mb: _NOT_NEGATIVE = 0
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    assignments: Annotated[int, Field(ge=1, le=64)] = 1


class Uploads(_Section):
    explanations: Literal["none", "scores", "images"] = "none"
    logs: bool = True
    telemetry: bool = True


class Serving(_Section):
    """The model as the owner's own programs find it on this device. No folder: nothing is served."""

    folder: str = ""
    command: list[str] = Field(default_factory=list, max_length=100)
    command_seconds: Annotated[int, Field(ge=1, le=3_600)] = 60
    task: Annotated[str, Field(pattern=rf"^$|{NAME_PATTERN}")] = ""
    alias: Annotated[str, Field(pattern=NAME_PATTERN)] = SERVING

    @field_validator("folder")
    @classmethod
    def _is_absolute(cls, folder: str) -> str:
        if folder and not Path(folder).is_absolute():
            raise ValueError("must be a whole path, such as /srv/model")
        return folder

    @field_validator("command")
    @classmethod
    def _has_a_program(cls, command: list[str]) -> list[str]:
        if command and not command[0]:
            raise ValueError("must begin with a program")
        return command

    @model_validator(mode="after")
    def _has_somewhere_to_go(self) -> Serving:
        if not self.folder and (self.command or self.task or self.alias != SERVING):
            raise ValueError('needs a folder, such as folder = "/srv/model"')
        return self


class Script(_Section):
    """What the paths in an app's own command stand for on this device, by their names in braces."""

    paths: dict[Annotated[str, Field(pattern=r"^\w{1,64}$")], str] = Field(
        default_factory=dict, max_length=100
    )

    @field_validator("paths")
    @classmethod
    def _are_whole(cls, paths: dict[str, str]) -> dict[str, str]:
        for name, place in paths.items():
            if not Path(place).expanduser().is_absolute():
                raise ValueError(f"{name} = '{place}' must be a whole path, such as /srv/data")
        return paths


class Network(_Section):
    proxy: str = ""


class Deploy(_Section):
    """Which code may run here when the server says which."""

    source: Literal["server", "local"] = "server"
    folder: str = ""
    approve: bool = False
    allowed_signers: str = ""
    #: Of FedOps itself, however the Client Manager was started.
    upgrade: bool = False

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.source == "local") != bool(self.folder):
            raise ValueError('source = "local" and folder = "/path/of/the/app" belong together')
        for name in ("folder", "allowed_signers"):
            given = getattr(self, name)
            if given and not Path(given).expanduser().is_absolute():
                raise ValueError(f"{name} = '{given}' is no absolute path")
        return self


class DeviceConfig(_Section):
    limits: Limits = Limits()
    uploads: Uploads = Uploads()
    conditions: Conditions = Conditions()
    deploy: Deploy = Deploy()
    serving: Serving = Serving()
    script: Script = Script()
    network: Network = Network()
    node_config: dict[
        Annotated[str, Field(min_length=1, max_length=200)], bool | int | float | str
    ] = Field(default_factory=dict, max_length=100)

    def bound(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """A task's config within this device's limits, and a sentence for each value lowered."""
        config, lowered = dict(wanted), []
        for key, limit in (
            ("num_epochs", self.limits.max_epochs),
            ("batch_size", self.limits.max_batch_size),
        ):
            value = config.get(key)
            if limit and isinstance(value, int) and value > limit:
                config[key] = limit
                lowered.append(f"{key} lowered from {value} to {limit} by this device's owner")
        if (said := self._other_accelerator(config.get("resources"))) is not None:
            lowered.append(said)
        return config, lowered

    def _other_accelerator(self, resources: object) -> str | None:
        """What is to be said when a run asks for another one, which ``overrides`` replaces."""
        asked = resources.get("accelerator") if isinstance(resources, Mapping) else None
        chosen = self.limits.accelerator
        if chosen == "auto" or asked in (None, "auto", chosen):
            return None
        return f"accelerator '{asked}' replaced by '{chosen}' by this device's owner"

    def overrides(self) -> list[str]:
        """What holds against any config, as settings over it."""
        limits, found = self.limits, []
        if limits.accelerator != "auto":
            found.append(f"resources.accelerator={json.dumps(limits.accelerator)}")
        if limits.accelerator_memory_mb:
            found.append(f"resources.accelerator_memory_mb={limits.accelerator_memory_mb}")
        for name, place in self.script.paths.items():
            found.append(f"script.paths.{name}={json.dumps(place, ensure_ascii=False)}")
        return found

    def may_leave(self, kind: RecordKind) -> bool:
        """Whether a record of this kind may be sent to the server."""
        if kind is RecordKind.LOG:
            return self.uploads.logs
        if kind is RecordKind.TELEMETRY:
            return self.uploads.telemetry
        return True


def load_device_config(path: Path) -> DeviceConfig:
    """Read ``device.toml``; a missing file means the defaults.

    Raises:
        Invalid: it is no TOML, or a key or value is wrong; the message names each.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return DeviceConfig.model_validate(data)
    except FileNotFoundError:
        return DeviceConfig()
    except ValidationError as error:
        wrong = "\n".join(f"  {line}" for line in validation_messages(error, DeviceConfig))
        raise Invalid(f"{path}:\n{wrong}") from None
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot read {path}: {error}") from None


def ensure_device_config(path: Path, proxy: str | None = None) -> None:
    """Put the commented defaults there, unless the owner has a file already. ``proxy`` is noted in it.

    Raises:
        Conflict: the file says another proxy.
        Invalid: see ``load_device_config``.
    """
    if not path.exists():
        text = DEFAULT_TEXT
        if proxy:
            text = text.replace('# proxy = ""  ', f"proxy = {json.dumps(proxy)}", 1)
        path.write_text(text, encoding="utf-8")
    elif proxy and load_device_config(path).network.proxy != proxy:
        raise Conflict(
            f"{path} is there already and says another proxy, or none: write proxy = {json.dumps(proxy)}"
            " into its section [network]"
        )
