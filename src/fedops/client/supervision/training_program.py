"""The training client as a program to be supervised: which app, by which interpreter, and how it is held."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import DeviceConfig
from fedops.client.device.training_home import TrainingHome
from fedops.client.local.messages import TrainingArgs
from fedops.client.supervision.process_run import Program
from fedops.client.supervision.process_setup import child_env
from fedops.scalize.flow.project import Project


@dataclass(frozen=True)
class AppPlace:
    """An app's folder, and the interpreter of its environment; None: ours."""

    app_dir: Path
    python: Path | None = None
    #: Where its explanations go, below the data dir. None: its config says so.
    output_dir: str | None = None

    def env(self) -> dict[str, str]:
        """What the environment of its programs has beside ours: its own programs are found first."""
        if self.python is None or self.python == Path(sys.executable):
            return {}
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": os.pathsep.join([str(self.python.parent), path])}


@dataclass(frozen=True)
class TrainingPrograms:
    """Makes training clients of apps."""

    home: DataDir
    config: DeviceConfig
    training: TrainingHome
    #: How it is started: two more arguments follow.
    start: Sequence[str]
    overrides: Sequence[str]
    host: str
    port: int
    #: What the device is called now, and its id.
    device: Callable[[], tuple[str, str]]

    def of(self, app: AppPlace) -> Program:
        """The training client of an app."""
        training = self.training_of(app)
        return replace(
            self.none(""),
            command=lambda pipe: self._command(app, training, pipe),
            env={**child_env(self.config), **app.env(), **training.env()},
            cwd=app.app_dir,
        )

    def none(self, why: str) -> Program:
        """Nothing to run yet."""
        tree = hashlib.sha256(str(self.home.path.resolve()).encode()).hexdigest()[:16]
        return Program(
            command=lambda _: [],
            env={},
            cwd=self.home.path,
            pid_file=self.home.child_pid,
            tree=f"client-{tree}",
            idle=why,
        )

    def training_of(self, app: AppPlace) -> TrainingHome:
        """Where it works. ``Invalid``: the app's config is wrong."""
        output_dir = app.output_dir
        if output_dir is None:
            output_dir = Project.open(app.app_dir, self.overrides).config.xai.output_dir
        training = replace(self.training, output_dir=output_dir)
        training.prepare()
        return training

    def _command(self, app: AppPlace, training: TrainingHome, pipe: int) -> list[str]:
        name, id_ = self.device()
        args = TrainingArgs(
            home=training.place.path.resolve(),
            device=name,
            device_id=id_,
            confinement=training.confinement(app.app_dir),
            app_dir=app.app_dir,
            overrides=list(self.overrides),
            host=self.host,
            port=self.port,
        )
        return [*self.interpreted(app), args.model_dump_json(), str(pipe)]

    def interpreted(self, app: AppPlace) -> list[str]:
        """The command line, by the app's own interpreter."""
        first, *rest = self.start
        ours = app.python is None or first != sys.executable
        return [first if ours else str(app.python), *rest]
