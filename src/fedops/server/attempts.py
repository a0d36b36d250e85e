"""Attempts as the scheduler sees them: what to submit, what lives, what was lost, what to end."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fedops.core.states import AttemptStatus, RunStatus


@dataclass(frozen=True)
class Submission:
    """An attempt that the engine must start now."""

    attempt_id: int
    run_id: int
    number: int
    task: str
    #: sha256 of the app bundle; its file is ``ArtifactStore.path(bundle)``.
    bundle: str
    #: The attempt token, known only here.
    token: str


@dataclass(frozen=True)
class LiveAttempt:
    """An attempt that was neither ended nor lost."""

    attempt_id: int
    run_id: int
    number: int
    status: AttemptStatus
    run_status: RunStatus
    engine_run_id: str | None
    generation: int | None
    pid: int | None
    started_at: float
    #: When it last called, whatever it was.
    seen_at: float


@dataclass(frozen=True)
class EngineRun:
    """What the engine may still execute of an attempt that is over."""

    attempt_id: int
    engine_run_id: str
    generation: int
    pid: int | None


def to_submit(session: Session) -> list[int]:
    """Runs that wait for an attempt: pending or resuming, with none alive. Oldest first."""
    raise NotImplementedError


def open_attempt(session: Session, run_id: int, now: float) -> Submission:
    """The next attempt of a run (pending -> starting, resuming stays). ``Conflict`` if it is too late."""
    raise NotImplementedError


def submitted(session: Session, attempt_id: int, engine_run_id: str, generation: int) -> None:
    """The engine accepted the attempt."""
    raise NotImplementedError


def live(session: Session) -> list[LiveAttempt]:
    """All attempts that are starting or running."""
    raise NotImplementedError


def lost(session: Session, attempt_id: int, why: str, now: float) -> None:
    """The attempt's process or the engine died: the run resumes, or fails after too many. Repeatable."""
    raise NotImplementedError


def to_clear(session: Session) -> list[EngineRun]:
    """Attempts that are over, whose run in the engine was not ended yet."""
    raise NotImplementedError


def cleared(session: Session, attempt_id: int, now: float) -> None:
    """The engine holds nothing more of this attempt."""
    raise NotImplementedError


def of_engine_run(session: Session, engine_run_id: str) -> int | None:
    """The live attempt that is this run of the engine."""
    raise NotImplementedError


def of_device(session: Session, device_id: str) -> list[int]:
    """The live attempts whose run the device was asked to train in."""
    raise NotImplementedError
