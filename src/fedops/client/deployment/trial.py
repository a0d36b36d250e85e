"""A commit is tried in a process of its own, by the interpreter of its own environment, before it may run."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from fedops.client.deployment.commits.places import Places, remove_folder
from fedops.client.deployment.trial_messages import TrialAnswer, TrialArgs
from fedops.client.device.training_home import TrainingHome
from fedops.client.spool.child_output import Output
from fedops.client.supervision.exit_status import why_ended
from fedops.client.supervision.piped_child import spawn_piped
from fedops.client.supervision.process_setup import child_env
from fedops.client.supervision.training_program import AppPlace, TrainingPrograms
from fedops.client.telemetry.system_metrics import MIB, memory_of
from fedops.client.work.reachability import Over
from fedops.core.contracts.confinement import Confinement
from fedops.core.errors import FedOpsError
from fedops.failpoints import reached
from fedops.processes.json_lines import read_objects
from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import let_go
from fedops.processes.threads import in_thread
from fedops.waiting import Timeout, wait_until

logger = logging.getLogger("fedops.client")

PROGRAM = "fedops.client.deployment.trial_process"
_LOOK_SECONDS = 0.2
_LAST_WORDS_SECONDS = 1.0


@dataclass(frozen=True)
class TrialOrder:
    """What is to be tried."""

    app: AppPlace
    model: Path | None = None
    trains: bool = True
    named: Sequence[str] = ()


class Trials:
    """Tries one app at a time."""

    def __init__(
        self, places: Places, programs: TrainingPrograms, output: Output, seconds: float
    ) -> None:
        self._places = places
        self._programs = programs
        self._output = output
        self._seconds = seconds

    def clear(self) -> None:
        """End and remove what an earlier life left in the middle of a trial."""
        for left in list(self._places.trials.iterdir()):
            end_named_tree(_tree(left), grace=0.0)
            remove_folder(left)

    def run(self, order: TrialOrder, over: Callable[[], bool]) -> TrialAnswer:
        """How it went. All that the process started ends with it.

        Raises:
            Over: it is not wanted any more.
            OSError: the process cannot be started.
        """
        with self._places.temporary() as name:
            file = Path(name) / "args.json"
            file.touch(mode=0o600)
            try:
                training = self._programs.training_of(order.app)
            except FedOpsError as error:
                return TrialAnswer(problem=error.message)
            model = self._lent(order.model, file.parent)
            args = self._args(replace(order, model=model), training)
            file.write_text(args.model_dump_json(), encoding="utf-8")
            return self._run(order.app, training, file, over)

    def _lent(self, model: Path | None, folder: Path) -> Path | None:
        """The model where a training client of another user can read it."""
        if model is None or self._places.user is None:
            return model
        folder.chmod(0o711)
        lent = folder / "model.safetensors"
        shutil.copyfile(model, lent)
        lent.chmod(0o644)
        return lent

    def _args(self, order: TrialOrder, training: TrainingHome) -> TrialArgs:
        name, _ = self._programs.device()
        return TrialArgs(
            home=training.place.path.resolve(),
            device=name,
            app_dir=order.app.app_dir,
            overrides=list(self._programs.overrides),
            confinement=_held(training, order),
            model=order.model,
            trains=order.trains,
            named=list(order.named),
        )

    def _run(
        self, app: AppPlace, training: TrainingHome, file: Path, over: Callable[[], bool]
    ) -> TrialAnswer:
        tree = _tree(file.parent)
        python = str(app.python or sys.executable)
        child, read_end = spawn_piped(
            lambda pipe: [python, "-m", PROGRAM, str(file), str(pipe)],
            env={**child_env(self._programs.config), **app.env(), **training.env()},
            tree=tree,
            cwd=app.app_dir,
        )
        reached("manager.deployment.trial")
        try:
            return self._watch(child, os.fdopen(read_end, "rb"), over)
        finally:
            end_named_tree(tree, grace=0.0)
            let_go(child)
            child.wait()

    def _watch(
        self, child: subprocess.Popen[bytes], pipe: IO[bytes], over: Callable[[], bool]
    ) -> TrialAnswer:
        assert child.stdout is not None
        output, found = self._output.follow(child.stdout), _Answer(pipe)
        timeout = Timeout(self._seconds)
        while not found.done.wait(_LOOK_SECONDS):
            if over():
                raise Over
            if (problem := self._too_large(child.pid)) is not None:
                return TrialAnswer(problem=problem)
            if timeout.is_over:
                return TrialAnswer(
                    problem="it did not load its model and data, evaluate and train a batch within "
                    f"{self._seconds:.0f} s (FEDOPS_CLIENT_TRIAL_SECONDS)"
                )
        if found.said is not None:
            return found.said
        output.join(_LAST_WORDS_SECONDS)  # it closed its end of the pipe: it ends
        wait_until(lambda: child.poll() is not None, _LAST_WORDS_SECONDS, every=0.02)
        return TrialAnswer(problem=why_ended(child.returncode or 0, self._output.last_lines()))

    def _too_large(self, pid: int) -> str | None:
        """Why it takes more memory than the device's owner allows; the training client would, too."""
        limit = self._programs.config.limits.memory_mb
        used = (memory_of(pid) or 0) // MIB if limit else 0
        if used <= limit:
            return None
        return (
            f"it used {used} MB of memory, device.toml allows memory_mb = {limit}: use a smaller batch_size "
            "or model, or raise the limit"
        )


class _Answer:
    """What the process says, once it does."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.said: TrialAnswer | None = None
        self.done = threading.Event()
        in_thread(self._read, pipe, name="trial")

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for document in read_objects(pipe):
                try:
                    self.said = TrialAnswer.model_validate(document)
                except ValueError as error:
                    logger.warning("the trial's answer cannot be read: %s", error)
                break
        self.done.set()


def _tree(folder: Path) -> str:
    """What the processes of a trial are known by."""
    return f"trial-{folder.name}"


def _held(training: TrainingHome, order: TrialOrder) -> Confinement | None:
    """As the training client is held, but for what that one keeps."""
    held = training.confinement(order.app.app_dir)
    if held is None:
        return None
    model = [order.model] if order.model else []
    temporary = training.place.path / "tmp"
    return held.model_copy(
        update={
            "readable": [training.place.device_config, *model],
            "writable": [temporary, order.app.app_dir],
        }
    )
