"""``Scorer`` as a child process of the FL server, with a lower priority than it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Any

from pydantic import ValidationError

from fedops.core.contracts import RoundScores
from fedops.engine.run_setup import Setup
from fedops.engine.scoring.scorer import ModelFile, Scorer, ScoringFailed, ScoringJob
from fedops.engine.scoring.scoring_plan import OFF
from fedops.flower.scoring.error_sentence import error_sentence
from fedops.flower.scoring.scoring_process import BUILD_IN, answer_file, job_file, ready_file
from fedops.processes.process_tree import end_tree
from fedops.processes.spawn import clean_env, let_go, spawn
from fedops.storage.atomic_files import write_atomic

logger = logging.getLogger("fedops.engine")

COMMAND = (sys.executable, "-m", "fedops.flower.scoring.scoring_process")
#: It has one core, whatever it computes, and comes to the same sums each time.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
_LOOK_SECONDS = 0.02
_LAST_CHARACTERS = 1_000
#: What whoever runs the server can do.
_WHEN_KILLED = (
    "if the system killed it because memory ran out, give the server more of it, or turn the scoring off"
    " (method = 'none' in [server.contribution])"
)
_WHEN_LATE = "set max_seconds, or a smaller max_evaluations, in [server.contribution]"


def scorer_of(setup: Setup, app_dir: Path) -> Scorer | None:
    """Who scores the rounds of a run; None: its config does not want that."""
    if setup.config.server.contribution.method == OFF or setup.spec.replays is not None:
        return None
    return ChildScorer(app_dir, setup.plain_config, setup.spec.seed, setup.spool / "scoring")


class ChildScorer:
    """Starts at once, so that the app is open when the first round is there to be scored."""

    def __init__(
        self,
        app_dir: Path,
        config: dict[str, Any],
        seed: int,
        folder: Path,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._asked = {"app_dir": str(app_dir), "config": config, "seed": seed}
        self._folder = folder
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._jobs = 0
        self._start()

    @property
    def is_ready(self) -> bool:
        ended = self._child is None or self._child.poll() is not None  # who asks it hears why
        return ended or ready_file(self._folder).exists()

    def score(self, job: ScoringJob, seconds: float) -> RoundScores:
        answer = self._asked_for(plain_job(job), seconds)
        try:
            return RoundScores.model_validate(answer["scores"])
        except (KeyError, ValidationError) as error:
            raise ScoringFailed(f"its answer cannot be read: {error_sentence(error)}") from None

    def build(self, job: ScoringJob, seconds: float) -> list[ModelFile]:
        answer = self._asked_for({**plain_job(job), BUILD_IN: str(self._folder.parent)}, seconds)
        try:
            return [ModelFile(Path(path), sha256) for path, sha256 in answer["models"]]
        except (KeyError, ValueError) as error:
            raise ScoringFailed(f"its answer cannot be read: {error_sentence(error)}") from None

    def _asked_for(self, job: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Its answer. A process that ends without one has a successor once, which is asked the same."""
        deadline = time.monotonic() + seconds
        try:
            return self._answer(job, deadline, seconds)
        except _Ended as first:
            logger.warning("the scoring process %s; another one is asked", first)
        try:
            return self._answer(job, deadline, seconds)
        except _Ended as again:
            advice = f"; {_WHEN_KILLED}" if again.killed else ""
            raise ScoringFailed(f"its process {again}, for the second time{advice}") from None

    def _answer(self, job: dict[str, Any], deadline: float, seconds: float) -> dict[str, Any]:
        try:
            if self._child is None or self._child.poll() is not None:
                self._start()
            self._jobs += 1
            text = json.dumps(job).encode()
            write_atomic(job_file(self._folder, self._jobs), text, mode=0o600, durable=False)
        except OSError as error:
            raise ScoringFailed(f"its process cannot be asked: {error}") from None
        return self._read(answer_file(self._folder, self._jobs), deadline, seconds)

    def close(self) -> None:
        self._closed = True
        self._end()

    def _start(self) -> None:
        """A process that has seen no job yet."""
        self._end()
        if self._closed:
            raise ScoringFailed("the attempt is over")
        rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._jobs = 0
        question = self._folder / "question.json"
        question.write_text(json.dumps(self._asked), encoding="utf-8")
        with (self._folder / "output.txt").open("wb") as output:
            self._child = spawn(
                [*self._command, str(question)],
                env=clean_env(ONE_THREAD),
                cwd=self._folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            end_tree(child.pid, 0.0)
            let_go(child)
            child.wait()

    def _read(self, path: Path, deadline: float, seconds: float) -> dict[str, Any]:
        while not path.exists():
            child = self._child
            if child is None:
                raise ScoringFailed("the attempt is over")
            if (code := child.poll()) is not None and not path.exists():
                raise _Ended(code, self._last_words())
            if time.monotonic() > deadline:
                self._end()
                raise ScoringFailed(f"it was not done after {seconds:.0f} s; {_WHEN_LATE}")
            time.sleep(_LOOK_SECONDS)
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        if "failed" in answer:
            raise ScoringFailed(str(answer["failed"])[:1_500])
        return answer

    def _last_words(self) -> str:
        try:
            said = (self._folder / "output.txt").read_text(errors="replace").strip()
        except OSError:
            return ""
        return said[-_LAST_CHARACTERS:].splitlines()[-1] if said else ""


class _Ended(Exception):
    """The process is gone, and there is no answer."""

    def __init__(self, code: int, last_words: str) -> None:
        self.killed = code < 0
        how = f"was killed (signal {-code})" if self.killed else f"ended with code {code}"
        super().__init__(f"{how}, saying '{last_words}'" if last_words else how)


def plain_job(job: ScoringJob) -> dict[str, Any]:
    """What the process is asked, as JSON."""
    return {
        "round": job.round,
        "plan": job.plan.model_dump(mode="json"),
        "seed": job.seed,
        "before": str(job.before),
        "previous": None if job.previous is None else str(job.previous),
        "updates": [
            {"device": one.device, "path": str(one.path), "examples": one.examples}
            for one in job.updates
        ],
        "basis": dict(job.basis),
        "history": dict(job.history),
        "evaluations": None if job.evaluations is None else asdict(job.evaluations),
    }
