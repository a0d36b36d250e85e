"""Every error a user can meet, in five kinds.

    FedOpsError
    ├── NotFound      the thing named does not exist                     HTTP 404   exit 4
    ├── Conflict      it exists, but its state does not allow this       HTTP 409   exit 5
    ├── Invalid       the request itself is wrong                        HTTP 422   exit 2
    ├── Forbidden     who asks may not                                   HTTP 403   exit 3
    └── Unavailable   it would be right, but something is out of reach   HTTP 503   exit 6

A message says what is wrong, where, and what to do. Anything else that is raised is a bug.
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


class Invalid(FedOpsError):
    """The request, a file or a value is wrong."""

    kind, http_status, exit_code = "invalid", 422, 2


class Forbidden(FedOpsError):
    """Whoever asks may not do this."""

    kind, http_status, exit_code = "forbidden", 403, 3


class Unavailable(FedOpsError):
    """Right in itself, but something it needs is out of reach."""

    kind, http_status, exit_code = "unavailable", 503, 6


KINDS: dict[str, type[FedOpsError]] = {
    cls.kind: cls for cls in (NotFound, Conflict, Invalid, Forbidden, Unavailable)
}


def from_kind(kind: str, message: str) -> FedOpsError:
    """The error that travelled over the wire as ``kind`` and ``message``."""
    return KINDS.get(kind, FedOpsError)(message)
