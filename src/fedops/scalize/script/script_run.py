"""One run of a command in a round folder, watched, and what is to be thought of it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fedops.config.script_table import Script
from fedops.core.errors import Invalid, Unavailable
from fedops.processes.confining import CACHES
from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.observing.running import last_words
from fedops.scalize.script.command import Command
from fedops.scalize.script.round_folder import RoundFolder, round_folder
from fedops.storage.tensors import Tensors, save

logger = logging.getLogger("fedops.training.script")

#: Variables that name the folders of downloaded models and data sets: they may be written to.
_CACHE_VARIABLES = (
    "HF_DATASETS_CACHE",
    "HF_HOME",
    "KERAS_HOME",
    "MPLCONFIGDIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_HOME",
    "TRITON_CACHE_DIR",
)
#: Refusals that only say that a run trained nothing.
_UNTRAINED = ("no_optimizer", "no_step", "nothing_seen")
#: Of a command's last words: lines, and characters of them all.
_MOST_WORDS, _MOST_CHARACTERS = 3, 300
MODEL, RESULT = "model.safetensors", "result.safetensors"


class Watch(Protocol):
    """``scalize.observing.running.watch``."""

    def __call__(
        self,
        command: Sequence[str],
        cwd: Path,
        job: Job,
        *,
        env: Mapping[str, str] | None = None,
        seconds: float,
        cancelled: Callable[[], bool] | None = None,
        on_output: Callable[[str], object] | None = None,
    ) -> Seen: ...


@dataclass(frozen=True)
class Ran:
    """How a run went. The folder is there as long as the block takes that it was run in."""

    seen: Seen
    folder: RoundFolder

    def tensors(self, name: str) -> Path:
        """The file of tensors that was written under this name."""
        return self.folder.job / name

    @property
    def failed(self) -> bool:
        """Whether the command ended by itself and not well."""
        by_itself = self.seen.ended in ("script", "failed")
        return self.seen.ended == "failed" or (by_itself and self.seen.exit_code not in (0, None))

    @property
    def why(self) -> str:
        """How it ended, for a sentence: its error and where that was, otherwise its last words."""
        seen, code = self.seen, f" (exit code {self.seen.exit_code})"
        if seen.error:
            return f"{code}: {seen.error}{f' ({seen.error_where})' if seen.error_where else ''}"
        words = " / ".join(last_words(self.folder.job, _MOST_WORDS))[-_MOST_CHARACTERS:]
        return f"{code}; its last words: {words}" if words else code


@dataclass(frozen=True)
class ScriptRunner:
    """Runs a project's command as often as it is asked to."""

    project: Path
    watch: Watch
    seconds: float
    #: Of the project's files, those that a run must not find.
    left_out: frozenset[Path] = frozenset()

    @contextmanager
    def run(
        self,
        command: Command,
        asked: Mapping[str, Any],
        model: Tensors | None = None,
        cancelled: threading.Event | None = None,
    ) -> Iterator[Ran]:
        """Run the command to its end, or to where ``asked`` (fields of ``Job``) ends it.

        Raises:
            Cancelled: it was told to stop.
            Invalid: the command cannot be started or left no answer; or it is one that cannot be federated.
            Unavailable: the disk has no room.
        """
        with self._folder() as folder:
            job = self._job(folder, asked, model)
            seen = self.watch(
                command.words,
                folder.work,
                job,
                env={**command.env, "TMPDIR": str(folder.temporary)},
                seconds=self.seconds,
                cancelled=cancelled.is_set if cancelled is not None else None,
                on_output=_say,
            )
            ran = Ran(seen, folder)
            refuse(ran)
            yield ran

    @contextmanager
    def _folder(self) -> Iterator[RoundFolder]:
        with round_folder(self.project, self.left_out) as folder:
            yield folder

    def _job(self, folder: RoundFolder, asked: Mapping[str, Any], model: Tensors | None) -> Job:
        path = None
        if model is not None:
            path = folder.job / MODEL
            try:
                save(model, path, durable=False)
            except OSError as error:
                raise Unavailable(f"the model cannot be written for the command: {error}") from None
        writable = [str(place) for place in (folder.job, folder.temporary, *_caches())]
        return Job(folder=folder.job, model=path, writable=writable, **asked)


def _caches() -> list[Path]:
    """Where libraries keep what they have downloaded, for the next run."""
    named = [os.environ[name] for name in _CACHE_VARIABLES if os.environ.get(name)]
    home = Path.home()
    return [Path(place).expanduser() for place in named] + [home / place for place in CACHES]


def _say(line: str) -> None:
    """The command's own output, as a device's log has it."""
    if text := line.rstrip():
        logger.info("%s", text[:2_000])


def refuse(ran: Ran) -> None:
    """Raise what was seen to be impossible.

    Raises:
        Invalid: this command cannot be federated; or it failed before it trained, with its own words.
    """
    refusals = [note for note in ran.seen.notes if note.weight == "refusal"]
    untrained = not ran.seen.steps and (ran.failed or bool(ran.seen.error))
    if refusals and not (untrained and refusals[0].kind in _UNTRAINED):
        first = refusals[0]
        raise Invalid(f"{first.text} ({first.where})" if first.where else first.text)
    if untrained:
        raise Invalid(f"the command failed before it trained{ran.why}")


def require_used(ran: Ran) -> None:
    """The model that was put in is the one that was trained.

    Raises:
        Invalid: it is not, or nothing was trained.
    """
    seen = ran.seen
    if seen.used is None:
        why = ran.why if ran.failed else ""
        raise Invalid(
            "the command ended without training the model that it was given, so there is no result"
            f"{why}"
        )
    if not seen.used:
        raise Invalid(
            f"the command did not train the model that it was given: {seen.first_difference}; if the script"
            " loads or makes its own after the model was put in, 'fedops init' finds the right moment (put_in"
            " under [script])"
        )


def require_whole(ran: Ran, script: Script, before: Seen) -> None:
    """A command that failed had come to the end of its training. ``before``: the observed run.

    Raises:
        Invalid: it had not, so that what it left is no result of a round.
    """
    seen = ran.seen
    if not ran.failed:
        return
    cut_short = seen.unfinished and not before.unfinished
    passes = script.passes or (0 if script.steps else before.passes)
    if seen.passes - cut_short < passes or (
        not passes and seen.steps < (script.steps or before.steps)
    ):
        raise Invalid(
            f"the command failed in the middle of its training, after {seen.steps} steps{ran.why}; what it"
            " had learned by then is no result of a round"
        )


@dataclass
class SaidOnce:
    """Says each sentence once, however many rounds there are."""

    _said: set[str] = field(default_factory=set)

    def __call__(self, text: str) -> None:
        if text and text not in self._said:
            self._said.add(text)
            logger.warning("%s", text)
