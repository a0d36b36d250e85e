"""The state machines, as data. A change of state is checked here and made by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from fedops.core.errors import Conflict


class RunStatus(StrEnum):
    """One execution of a task."""

    PENDING = "pending"  #: accepted, not yet given to the engine
    STARTING = "starting"  #: an attempt was begun, its FL server has not said hello
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"  #: a new attempt continues from the last committed round
    STOPPING = "stopping"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


class TokenKind(StrEnum):
    """Whom a token speaks for."""

    PERSONAL = "personal"  #: of a user
    SESSION = "session"  #: of a user's browser
    CODE = "code"  #: opens one session, once
    JOIN = "join"
    DEVICE = "device"
    ATTEMPT = "attempt"


class ChannelKind(StrEnum):
    """How somebody is told of what happens."""

    WEBHOOK = "webhook"
    EMAIL = "email"
    SLACK = "slack"


class NotificationRule(StrEnum):
    """What somebody may want to be told of."""

    RUN_FAILED = "run_failed"
    RUN_WAITING = "run_waiting"
    DEVICE_LOST = "device_lost"
    DRIFT = "drift"
    VERSION_QUARANTINED = "version_quarantined"
    ROLLOUT_STOPPED = "rollout_stopped"


class NotificationStatus(StrEnum):
    """How far a message is."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class Role(StrEnum):
    """What a user may do."""

    ADMIN = "admin"  #: everything, other users included
    OPERATOR = "operator"  #: tasks, runs, models; of all tasks devices, too
    VIEWER = "viewer"  #: looks, and takes models
    AUDITOR = "auditor"  #: reads what happened and who did it, and takes nothing


class AttemptStatus(StrEnum):
    """One process of the FL server that executes (part of) a run."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"  #: said goodbye itself
    LOST = "lost"  #: its process or the Server Manager died
    CANCELLED = "cancelled"  #: ended by stop or pause


#: An attempt in one of these has, or will have, an FL server.
ATTEMPT_LIVE = (AttemptStatus.STARTING, AttemptStatus.RUNNING)


class Enrolment(StrEnum):
    """What the server decided about a device."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"  #: it stays enrolled and is asked for nothing, until it is released
    REVOKED = "revoked"
    REMOVED = "removed"  #: only its history is left; its name and its key may come again


#: Whoever is in one of these is not wanted any more.
ENROLMENT_OUT = (Enrolment.REJECTED, Enrolment.REVOKED, Enrolment.REMOVED)
#: Whoever is in one of these was let in, and may be asked again if it is not asked for anything now.
ENROLMENT_IN = (Enrolment.APPROVED, Enrolment.QUARANTINED)
#: What a device in one of these has delivered for a round that is not committed does not count.
ENROLMENT_DISTRUSTED = (Enrolment.REVOKED, Enrolment.QUARANTINED)


class ProcessStatus(StrEnum):
    """The training client as its Client Manager sees it."""

    STOPPED = "stopped"
    STARTING = "starting"
    IDLE = "idle"
    TRAINING = "training"
    EVALUATING = "evaluating"
    BACKOFF = "backoff"
    FATAL = "fatal"


#: A training client that does its work, and one that has all loaded: it says so itself.
PROCESS_WORKING = (ProcessStatus.TRAINING, ProcessStatus.EVALUATING)
PROCESS_READY = (ProcessStatus.IDLE, *PROCESS_WORKING)


class ReadinessStatus(StrEnum):
    """Whether a training client could do its part of a round, as far as it tried."""

    CHECKING = "checking"
    READY = "ready"
    REFUSED = "refused"  #: with a reason; it is tried again until it is gone


class AssignmentStatus(StrEnum):
    """One piece of work for one device. Being lost is presence of the device, never an end of these."""

    OFFERED = "offered"
    ACCEPTED = "accepted"  #: its instruction was fetched
    WORKING = "working"  #: the device said so
    UPLOADED = "uploaded"  #: its result is delivered and durable
    CHECKED = "checked"  #: the engine took it
    REFUSED = "refused"  #: by the device, with a reason
    FAILED = "failed"  #: the app raised
    REJECTED = "rejected"  #: by the server's checks
    EXPIRED = "expired"  #: its deadline passed, or its round ended without it
    CANCELLED = "cancelled"


class TaskStatus(StrEnum):
    """What is to be learned. "Active" is derived from its runs."""

    DRAFT = "draft"
    READY = "ready"
    ARCHIVED = "archived"


class ParticipationStatus(StrEnum):
    """A device's part in one round."""

    SELECTED = "selected"
    REPLIED = "replied"  #: checked and aggregated
    REJECTED = "rejected"  #: replied, but the update was refused (see the reason)
    DROPPED = "dropped"  #: no reply: offline, late, crashed or failed (see the reason)


class FailureReason(StrEnum):
    """Why a run failed."""

    ENGINE_ERROR = "engine_error"
    TOO_FEW_CLIENTS = "too_few_clients"
    AGGREGATION_ERROR = "aggregation_error"
    APP_ERROR = "app_error"
    TIMEOUT = "timeout"


class CommitStatus(StrEnum):
    """A commit of a task's source."""

    FOUND = "found"
    CHECKING = "checking"  #: in a clean checkout, as 'fedops check' does
    SOUND = "sound"  #: it may be deployed
    REFUSED = "refused"  #: with a reason
    SKIPPED = "skipped"  #: a newer one came before it was its turn


class RolloutStatus(StrEnum):
    """A commit on its way to the devices of a task."""

    PENDING = "pending"  #: nobody has been asked to take it
    WAVING = "waving"
    PAUSED = "paused"  #: for a person to decide, with a reason
    HOLDING = "holding"  #: everybody is asked, and so is whoever comes later
    SUPERSEDED = "superseded"  #: by another rollout of the task
    STOPPED = "stopped"  #: those who had it are asked for the commit before, with a reason


class UpgradeStatus(StrEnum):
    """How far a device is with the release of FedOps that it is to install."""

    WAITING = "waiting"  #: for its wave
    ASKED = "asked"
    DONE = "done"  #: it says the new release
    FAILED = "failed"  #: it has put the release before back, with the reason
    STALLED = "stalled"  #: a person has to do something there


class DeploymentStatus(StrEnum):
    """What a device does to run the commit that is wanted of it."""

    DESIRED = "desired"  #: it has not answered yet
    WAITING = "waiting"  #: for its turn, a round or a window to end
    FETCHING = "fetching"
    PREPARING = "preparing"  #: its environment is built
    AWAITING_APPROVAL = "awaiting_approval"  #: by the owner of the device
    CHECKING = "checking"  #: it is tried: it starts, one batch trains
    ACTIVE = "active"
    ROLLED_BACK = "rolled_back"  #: it was no good there, with a reason; what ran before runs


class ServingStatus(StrEnum):
    """How far a device is with the model version that it is to serve."""

    WAITING = "waiting"  #: for a version that it may have
    FETCHING = "fetching"
    RELOADING = "reloading"  #: the file is there, and the owner's command runs
    ACTIVE = "active"
    HELD = "held"  #: its owner has put the version before back
    FAILED = "failed"  #: with a reason; it is tried again


class DeploymentHealth(StrEnum):
    """How a deployment is, apart from whether it runs what is wanted."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    WAITING = "waiting for check-in"  #: the device is away; it converges when it is back
    STALLED = "stalled"  #: it will not get better by itself
    DEGRADED = "degraded"  #: it was tried and failed


class FiringStatus(StrEnum):
    """What became of a schedule that fired."""

    WAITING = "waiting"  #: its run cannot begin yet, with a reason
    RUNNING = "running"
    PROMOTED = "promoted"  #: the version of its run is ``serving``
    KEPT = "kept"  #: the version is there, and was not promoted, with a reason
    FAILED = "failed"  #: its run failed, or could not begin
    STOPPED = "stopped"  #: somebody stopped its run, or took the firing back
    SKIPPED = "skipped"  #: there was no run for it, with a reason


R, A, E, P, T = RunStatus, AttemptStatus, Enrolment, ProcessStatus, TaskStatus

RUN_TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = {
    R.PENDING: frozenset({R.STARTING, R.PAUSED, R.STOPPED, R.FAILED}),
    R.STARTING: frozenset({R.RUNNING, R.RESUMING, R.PAUSING, R.STOPPING, R.FAILED}),
    R.RUNNING: frozenset({R.COMPLETED, R.RESUMING, R.PAUSING, R.STOPPING, R.FAILED}),
    R.PAUSING: frozenset({R.PAUSED, R.STOPPING, R.FAILED}),
    R.PAUSED: frozenset({R.RESUMING, R.STOPPING, R.FAILED}),
    R.RESUMING: frozenset({R.RUNNING, R.PAUSING, R.STOPPING, R.FAILED}),
    R.STOPPING: frozenset({R.STOPPED, R.COMPLETED, R.FAILED}),
    R.COMPLETED: frozenset(),
    R.STOPPED: frozenset(),
    R.FAILED: frozenset(),
}
RUN_TERMINAL = frozenset(s for s, after in RUN_TRANSITIONS.items() if not after)
#: The states in which devices may train for a run.
RUN_TRAINING = frozenset({R.STARTING, R.RUNNING, R.RESUMING})

ATTEMPT_TRANSITIONS: Mapping[AttemptStatus, frozenset[AttemptStatus]] = {
    A.STARTING: frozenset({A.RUNNING, A.LOST, A.CANCELLED, A.ENDED}),
    A.RUNNING: frozenset({A.ENDED, A.LOST, A.CANCELLED}),
    A.ENDED: frozenset(),
    A.LOST: frozenset(),
    A.CANCELLED: frozenset(),
}

ENROLMENT_TRANSITIONS: Mapping[Enrolment, frozenset[Enrolment]] = {
    E.PENDING: frozenset({E.APPROVED, E.REJECTED, E.REMOVED}),
    E.APPROVED: frozenset({E.QUARANTINED, E.REVOKED, E.REMOVED}),
    E.QUARANTINED: frozenset({E.APPROVED, E.REVOKED, E.REMOVED}),
    E.REJECTED: frozenset({E.REMOVED}),
    E.REVOKED: frozenset({E.REMOVED}),
    E.REMOVED: frozenset(),
}

PROCESS_TRANSITIONS: Mapping[ProcessStatus, frozenset[ProcessStatus]] = {
    P.STOPPED: frozenset({P.STARTING}),
    P.STARTING: frozenset({P.IDLE, P.BACKOFF, P.FATAL, P.STOPPED}),
    P.IDLE: frozenset({P.TRAINING, P.EVALUATING, P.BACKOFF, P.FATAL, P.STOPPED}),
    P.TRAINING: frozenset({P.IDLE, P.EVALUATING, P.BACKOFF, P.FATAL, P.STOPPED}),
    P.EVALUATING: frozenset({P.IDLE, P.TRAINING, P.BACKOFF, P.FATAL, P.STOPPED}),
    P.BACKOFF: frozenset({P.STARTING, P.FATAL, P.STOPPED}),
    P.FATAL: frozenset({P.STARTING, P.STOPPED}),
}

_W = AssignmentStatus
_UNDELIVERED_ENDS = frozenset({_W.UPLOADED, _W.REFUSED, _W.FAILED, _W.EXPIRED, _W.CANCELLED})
ASSIGNMENT_TRANSITIONS: Mapping[AssignmentStatus, frozenset[AssignmentStatus]] = {
    _W.OFFERED: frozenset({_W.ACCEPTED, _W.WORKING}) | _UNDELIVERED_ENDS,
    _W.ACCEPTED: frozenset({_W.WORKING}) | _UNDELIVERED_ENDS,
    _W.WORKING: _UNDELIVERED_ENDS,
    _W.UPLOADED: frozenset({_W.CHECKED, _W.REJECTED, _W.EXPIRED, _W.CANCELLED}),
    _W.CHECKED: frozenset(),
    _W.REFUSED: frozenset(),
    _W.FAILED: frozenset(),
    _W.REJECTED: frozenset(),
    _W.EXPIRED: frozenset(),
    _W.CANCELLED: frozenset(),
}
#: The device may still deliver.
ASSIGNMENT_OPEN = frozenset({_W.OFFERED, _W.ACCEPTED, _W.WORKING})

TASK_TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    T.DRAFT: frozenset({T.READY, T.ARCHIVED}),
    T.READY: frozenset({T.ARCHIVED}),
    # What was put away as a draft is one again.
    T.ARCHIVED: frozenset({T.READY, T.DRAFT}),
}

_C, _L, _D = CommitStatus, RolloutStatus, DeploymentStatus
COMMIT_TRANSITIONS: Mapping[CommitStatus, frozenset[CommitStatus]] = {
    _C.FOUND: frozenset({_C.CHECKING, _C.SKIPPED}),
    # Found again: the server went down while it was checked. Skipped: its source was given up meanwhile.
    _C.CHECKING: frozenset({_C.SOUND, _C.REFUSED, _C.FOUND, _C.SKIPPED}),
    _C.SOUND: frozenset(),
    # A person asks for another check: what was missing may be there now.
    _C.REFUSED: frozenset({_C.FOUND}),
    _C.SKIPPED: frozenset({_C.FOUND}),
}

ROLLOUT_TRANSITIONS: Mapping[RolloutStatus, frozenset[RolloutStatus]] = {
    # At once: no device takes part yet.
    _L.PENDING: frozenset({_L.WAVING, _L.PAUSED, _L.HOLDING, _L.SUPERSEDED, _L.STOPPED}),
    _L.WAVING: frozenset({_L.PAUSED, _L.HOLDING, _L.SUPERSEDED, _L.STOPPED}),
    _L.PAUSED: frozenset({_L.WAVING, _L.SUPERSEDED, _L.STOPPED}),
    _L.HOLDING: frozenset({_L.SUPERSEDED, _L.STOPPED}),
    _L.SUPERSEDED: frozenset(),
    _L.STOPPED: frozenset(),
}
ROLLOUT_TERMINAL = frozenset(s for s, after in ROLLOUT_TRANSITIONS.items() if not after)
#: A rollout in one of these is still on its way.
ROLLOUT_MOVING = frozenset({_L.PENDING, _L.WAVING, _L.PAUSED})

_F = FiringStatus
FIRING_TRANSITIONS: Mapping[FiringStatus, frozenset[FiringStatus]] = {
    _F.WAITING: frozenset({_F.RUNNING, _F.FAILED, _F.STOPPED, _F.SKIPPED}),
    _F.RUNNING: frozenset({_F.PROMOTED, _F.KEPT, _F.FAILED, _F.STOPPED}),
    _F.PROMOTED: frozenset(),
    _F.KEPT: frozenset(),
    _F.FAILED: frozenset(),
    _F.STOPPED: frozenset(),
    _F.SKIPPED: frozenset(),
}
FIRING_OPEN = frozenset({_F.WAITING, _F.RUNNING})

_ON_ITS_WAY = frozenset(_D) - {_D.DESIRED}
#: What a device reports of one commit. Another commit, or another try, begins at ``desired``.
DEPLOYMENT_TRANSITIONS: Mapping[DeploymentStatus, frozenset[DeploymentStatus]] = {
    _D.DESIRED: _ON_ITS_WAY,
    _D.WAITING: _ON_ITS_WAY,
    _D.FETCHING: _ON_ITS_WAY,
    _D.PREPARING: _ON_ITS_WAY,
    _D.AWAITING_APPROVAL: _ON_ITS_WAY,
    _D.CHECKING: _ON_ITS_WAY,
    # It ended before it was confirmed for good, or its folder is gone: it begins again.
    _D.ACTIVE: _ON_ITS_WAY,
    _D.ROLLED_BACK: frozenset(),
}

S = TypeVar("S", bound=StrEnum)


class InvalidTransition(Conflict):
    """The state machine has no such edge."""

    def __init__(self, current: StrEnum, new: StrEnum, allowed: frozenset[StrEnum]) -> None:
        after = ", ".join(sorted(allowed)) or "nothing: it is final"
        super().__init__(
            f"cannot go from '{current}' to '{new}'; from '{current}' it can go to: {after}"
        )


def can_advance(table: Mapping[S, frozenset[S]], current: S, new: S) -> bool:
    """Whether ``current -> new`` is allowed. Repeating a state is always allowed."""
    return new == current or new in table[current]


def advance(table: Mapping[S, frozenset[S]], current: S, new: S) -> S:
    """``new``, or ``InvalidTransition`` when the table has no such edge."""
    if not can_advance(table, current, new):
        raise InvalidTransition(current, new, frozenset(table[current]))
    return new
