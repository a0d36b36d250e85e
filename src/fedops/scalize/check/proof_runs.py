"""The runs of a command that a proof rests on: alone, and as a round of one client.

All run in folders of their own, with one thread and without an accelerator, so that sums are added in one
order. A run alone is watched too, but nothing is put in.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedops.config.script_table import Script
from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import TrainContext
from fedops.scalize.flow.manifest import Manifest
from fedops.scalize.flow.project import Project
from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.observing.running import watch
from fedops.scalize.script.command import command_here
from fedops.scalize.script.observation import INITIAL, Observation
from fedops.scalize.script.round_folder import outputs
from fedops.scalize.script.script_adapter import ScriptAdapter, ScriptOptions
from fedops.scalize.script.script_run import ScriptRunner
from fedops.storage.tensors import Tensors, load, save

_ONE_THREAD = dict.fromkeys(
    (
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)
_SEED = 1
#: A line of the command's output is shown at most this often.
_QUIET_SECONDS = 0.5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A run that has ended: what was seen of it, and the tensors it left."""

    seen: Seen
    folder: Path
    seconds: float

    @property
    def start(self) -> Tensors:
        """The model as training first saw it."""
        return self.require("v0")

    def tensors(self, *names: str) -> Tensors | None:
        """The first of these that there is."""
        for name in names:
            file = self.folder / f"{name}.safetensors"
            if file.is_file():
                return load(file)
        return None

    def require(self, *names: str) -> Tensors:
        """The same.

        Raises:
            Invalid: there is none.
        """
        found = self.tensors(*names)
        if found is None:
            why = f": {self.seen.error}" if self.seen.error else ""
            raise Invalid(f"the command left no '{names[0]}'{why}")
        return found


@dataclass(frozen=True)
class Until:
    """Where a run is ended; zeros: at the command's own end."""

    passes: int = 0
    steps: int = 0
    #: Keep the model as it is after this pass.
    keep: int = 0


class Bench:
    """Runs the command of an app, again and again, in folders of their own."""

    def __init__(
        self,
        project: Project,
        place: Path,
        say: Say = lambda line: None,
        by: Callable[..., Seen] = watch,
    ) -> None:
        """``place``: a folder for what the runs leave."""
        manifest, config = project.manifest, project.config
        assert config.script is not None
        self.script: Script = config.script
        self.observation = Observation.read(manifest.app_dir, self.script)
        resources = config.resources.model_copy(update={"threads": 1, "accelerator": "cpu"})
        self._options = ScriptOptions(self.script, config.exchange, resources)
        self._place, self._by = place, by
        self._runner = self._runner_of(manifest)
        self._ended: list[Run] = []
        self._say, self._what, self._seeded, self._said = say, "", False, 0.0

    def _runner_of(self, manifest: Manifest) -> ScriptRunner:
        home, seen = manifest.workdir or manifest.app_dir, self.observation.seen
        left_out = outputs(home, seen.written, seen.read)
        if not home.is_relative_to(manifest.app_dir):
            left_out.append(manifest.app_dir)
        return ScriptRunner(home, self._watched, self.script.max_seconds, frozenset(left_out))

    @property
    def home(self) -> Path:
        """The project's folder, which no run writes to."""
        return self._runner.project

    @property
    def seconds(self) -> float:
        """What all runs have taken so far."""
        return sum(run.seconds for run in self._ended)

    def alone(self, what: str, until: Until, *, seeded: bool) -> Run:
        """The command as it is, with nothing put in.

        Raises:
            Invalid: it cannot be started, fails before it trains, or cannot be federated.
        """
        asked: dict[str, Any] = {
            "put_in": self.script.put_in,
            "evaluation_mode": self.script.evaluation_mode,
            "models": list(self.script.models),
            "result": self.script.result,
            "passes": until.passes,
            "steps": until.steps,
            "keep_pass": until.keep,
        }
        command = command_here(self.script, self._options.resources, self._runner.project)

        def run() -> None:
            with self._runner.run(command, asked):
                pass

        return self._told(what, seeded, run)

    def round(self, what: str, start: Tensors, until: Until, *, seeded: bool) -> Run:
        """A round of one client that begins with the model ``start``, as a device trains it.

        Raises:
            Invalid: as above, but for a model that was put in and not trained: ``used`` tells of that.
        """
        script = self.script.model_copy(update={"passes": until.passes, "steps": until.steps})
        options = dataclasses.replace(self._options, script=script)
        adapter = ScriptAdapter(self._beginning_with(start), options, self._runner)
        context = TrainContext(1, _SEED, 1, 1, 0.0)
        return self._told(what, seeded, lambda: adapter.train(range(1), context))

    def _beginning_with(self, start: Tensors) -> Observation:
        folder = self._place / f"start-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        save(start, folder / INITIAL, durable=False)
        return dataclasses.replace(self.observation, folder=folder)

    # --- one run -----------------------------------------------------------------------------------

    def _told(self, what: str, seeded: bool, run: Callable[[], object]) -> Run:
        """Run it and say so. ``what`` it is, for people."""
        self._what, self._seeded, before = what, seeded, len(self._ended)
        self._say(f"{what} ...")
        try:
            run()
        except Invalid:
            if self._ended[before:] and self._ended[-1].seen.used is False:
                return self._ended[-1]  # said with more evidence by whoever compares
            raise
        ended = self._ended[-1]
        self._say(f"{what}: {counted(ended.seen.steps, 'step')} in {ended.seconds:.1f} s")
        return ended

    def _watched(
        self,
        command: Sequence[str],
        cwd: Path,
        job: Job,
        *,
        env: Mapping[str, str] | None = None,
        seconds: float,
        cancelled: Callable[[], bool] | None = None,
        on_output: Callable[[str], object] | None = None,
    ) -> Seen:
        """``watch``, with one thread, and seeded where that is asked for; the tensors are kept."""
        begun = time.perf_counter()
        seen = self._by(
            command,
            cwd,
            job.model_copy(update={"seed": _SEED}) if self._seeded else job,
            env={**(env or {}), **_ONE_THREAD},
            seconds=seconds,
            on_output=self._hear,
        )
        folder = self._place / f"run-{len(self._ended)}"
        folder.mkdir()
        for file in job.folder.glob("*.safetensors"):
            _keep(file, folder / file.name)
        self._ended.append(Run(seen, folder, time.perf_counter() - begun))
        return seen

    def _hear(self, line: str) -> None:
        now = time.monotonic()
        if line.strip() and now - self._said > _QUIET_SECONDS:
            self._said = now
            self._say(f"{self._what}: {line.strip()[:100]} ...")


def counted(number: int, one: str, several: str = "") -> str:
    """``1 step``, ``3 steps``."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def _keep(file: Path, there: Path) -> None:
    try:
        os.link(file, there)
    except OSError:
        shutil.copyfile(file, there)
