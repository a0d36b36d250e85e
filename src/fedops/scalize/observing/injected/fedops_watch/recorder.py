"""What was seen so far, and the files that tell it."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from typing import Any, Callable, Mapping

from fedops_watch import places, shield, tensors
from fedops_watch.job import Job

#: Frameworks that are named where they were imported.
FRAMEWORKS = (
    "torch",
    "keras",
    "tensorflow",
    "jax",
    "sklearn",
    "lightning",
    "pytorch_lightning",
    "transformers",
    "accelerate",
    "deepspeed",
    "xgboost",
    "lightgbm",
    "catboost",
)


class Recorder:
    """One for the process. Hooks fill ``answer``, ``models``, ``optimizers``, ``loaders`` and notes."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pid = os.getpid()
        #: Whether this process is the one whose training counts.
        self.claimed = False
        #: Whether what happens now is none of the training: an evaluation of ours.
        self.inert = False
        #: Plain fields of ``Seen``, by their names.
        self.answer: dict[str, Any] = {"ended": "script"}
        self.models: list[dict[str, Any]] = []
        self.optimizers: list[dict[str, Any]] = []
        self.loaders: list[dict[str, Any]] = []
        self.files: list[str] = []
        #: Told of each file that is about to be written; raises where that is denied.
        self.on_write: Callable[[str], None] = lambda path: None
        self._notes: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._at_end: list[Callable[[], None]] = []
        #: The process that asked for the claim and found that another one has it.
        self._lost = 0
        self._at_end_last: list[Callable[[], None]] = []
        self._began = time.monotonic()

    def may_end(self) -> bool:
        """Whether a limit of passes or steps counts by now."""
        return bool(time.monotonic() - self._began >= self.job.earliest_end)

    def claim(self) -> bool:
        """Before the first step or fit: whether it is this process that counts. Another leaves a mark."""
        if self.claimed or self._lost == os.getpid():
            return self.claimed
        path = os.path.join(self.job.folder, "claim")
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            with open(f"{path}-{os.getpid()}", "w", encoding="utf-8") as file:
                file.write("trains too")
            self._lost = os.getpid()
            return False
        self.pid, self.claimed, self.inert = os.getpid(), True, False
        return True

    def note(self, kind: str, text: str, where: str = "", weight: str = "fact") -> None:
        """Each kind, text and place once."""
        said = {"kind": kind, "text": text, "where": where, "weight": weight}
        self._notes.setdefault((kind, text, where), said)

    def refuse(self, kind: str, text: str, where: str = "") -> None:
        self.note(kind, text, where, "refusal")

    def has_note(self, kind: str) -> bool:
        return any(key[0] == kind for key in self._notes)

    def writes(self, path: Any) -> None:
        """A file that is about to be written past Python's own ``open``."""
        if isinstance(path, (str, os.PathLike)):
            self.on_write(os.fspath(path))

    def at_end(self, fill: Callable[[], None], last: bool = False) -> None:
        """``fill`` is called each time the answer is written, to complete it: twice where we end the loop.

        ``last``: after those that do not say so, whose models it looks at.
        """
        (self._at_end_last if last else self._at_end).append(fill)

    def write_tensors(self, stem: str, found: Mapping[str, tensors.Raw]) -> None:
        """``<folder>/<stem>.safetensors``."""
        name = stem + ".safetensors"
        tensors.write(os.path.join(self.job.folder, name), found)
        if name not in self.files:
            self.files.append(name)

    def finish(self, ended: str | None = None) -> None:
        """Write the answer. May be called again: the last one counts."""
        if ended is not None:
            self.answer["ended"] = ended
        self._tell_error()
        for fill in [*self._at_end, *self._at_end_last]:
            shield.shielded(fill)()
        for where, fault in shield.faults.items():
            self.note("hook_failed", f"a hook of ours failed ({where}): {fault}", "", "difference")
        name = "seen.json" if self.claimed else f"unclaimed-{os.getpid()}.json"
        self._write(os.path.join(self.job.folder, name))

    def _tell_error(self) -> None:
        error = getattr(sys, "last_value", None)
        if error is None or isinstance(error, SystemExit):
            return
        self.answer["error"] = (f"{type(error).__name__}: {error}")[:2000]
        self.answer["error_where"] = places.of_error(getattr(sys, "last_traceback", None))
        if self.answer["ended"] == "script":
            self.answer["ended"] = "failed"

    def _write(self, path: str) -> None:
        answer = dict(self.answer)
        answer.update(
            frameworks=[name for name in FRAMEWORKS if name in sys.modules],
            python=platform.python_version(),
            models=self.models,
            optimizers=self.optimizers,
            loaders=self.loaders,
            notes=list(self._notes.values()),
            seconds=time.monotonic() - self._began,
            files=self.files,
        )
        partial = f"{path}.part-{os.getpid()}"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(answer, file, default=str)
        os.replace(partial, path)
