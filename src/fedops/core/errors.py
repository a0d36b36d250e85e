"""Every error a user can meet, in five kinds.

    FedOpsError
    ├── NotFound      the thing named does not exist                     HTTP 404   exit 4
    ├── Conflict      it exists, but its state does not allow this       HTTP 409   exit 5
    ├── Invalid       the request itself is wrong                        HTTP 422   exit 2
    ├── Forbidden     who asks may not                                   HTTP 403   exit 3
    └── Unavailable   it would be right, but something is out of reach   HTTP 503   exit 6

A message says what is wrong, where, and what to do. Anything else that is raised is a bug. An error after
which callers go on in another way than after others of its kind is a class of its own.
"""

from __future__ import annotations


class FedOpsError(Exception):
    """Something the user can act on. The message is shown as it is."""

    kind = "error"
    http_status = 500
    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(FedOpsError):
    """The thing named does not exist."""

    kind, http_status, exit_code = "not_found", 404, 4


class Conflict(FedOpsError):
    """The thing exists, but its state does not allow this."""

    kind, http_status, exit_code = "conflict", 409, 5


class AttemptSuperseded(Conflict):
    """Another attempt of the run is current, or the run is over: nothing of this one counts any more."""


class RunBusy(Conflict):
    """The task has a run going on, and takes no other before that is over."""


class Invalid(FedOpsError):
    """The request, a file or a value is wrong."""

    kind, http_status, exit_code = "invalid", 422, 2


class Forbidden(FedOpsError):
    """Whoever asks may not do this."""

    kind, http_status, exit_code = "forbidden", 403, 3


class Unavailable(FedOpsError):
    """Right in itself, but something it needs is out of reach."""

    kind, http_status, exit_code = "unavailable", 503, 6


class NotApproved(Unavailable):
    """The device has joined, and an operator has not let it in yet."""

    http_status = 403


KINDS: dict[str, type[FedOpsError]] = {
    cls.kind: cls for cls in (NotFound, Conflict, Invalid, Forbidden, Unavailable)
}
#: What callers tell from others of its kind, by the name under which it travels.
LEAVES: dict[str, type[FedOpsError]] = {
    cls.__name__: cls for cls in (AttemptSuperseded, RunBusy, NotApproved)
}


def from_reply(kind: str, name: str, message: str) -> FedOpsError:
    """The error that travelled over the wire: its kind, the name of its class, and its message."""
    return LEAVES.get(name, KINDS.get(kind, FedOpsError))(message)
