"""What Git said, as one sentence with what to do next. What it quotes of a URL holds no credential."""

from __future__ import annotations

import re

from fedops.core.errors import FedOpsError, Forbidden, Invalid, NotFound, Unavailable
from fedops.core.printable import printable

_CREDENTIALS = re.compile(r"(\w+://)[^/@\s'\"]+@")
_LONGEST = 300


def in_words(said: str, url: str) -> FedOpsError:
    """The error behind what Git said of a repository."""
    low = said.lower()
    for words, kind, text in _KNOWN:
        if any(word in low for word in words):
            return kind(text.format(url=shown(url)))
    return Unavailable(f"{shown(url)} cannot be read by Git: {_last_line(said)}")


def shown(url: str) -> str:
    """A URL without user and password."""
    return _CREDENTIALS.sub(r"\1", printable(url))[:_LONGEST]


def _last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    return shown(told[-1].strip()) if told else "it said nothing"


_HOST_KEY = (
    "the ssh key of the host of {url} is not known on the server's machine: add it to the known_hosts of the "
    "user that the server runs as ('ssh-keyscan HOST', compared with what the host publishes)"
)
_REFUSED = (
    "{url} refuses the server: no credentials, or wrong ones. Name a file of them in "
    "FEDOPS_SERVER_GIT_CREDENTIALS (https), or a key in FEDOPS_SERVER_GIT_SSH_KEY (ssh)"
)
_NONE = (
    "{url} is no Git repository that the server can see: check the path, and whether the server's user may "
    "read it"
)
_OWNER = (
    "{url} belongs to another user than the server's, so Git does not read it: give it to the server's user, "
    "or name it by https:// or ssh://"
)
_AWAY = "{url} cannot be reached from the server's machine: is the host right, and does the network allow it?"
_CERTIFICATE = (
    "the certificate of {url} is not trusted on the server's machine: add its authority to the system's, or "
    "name it in GIT_SSL_CAINFO"
)
_DISK = "{url} cannot be fetched: the disk of the server is full; make room and it is tried again"
_KNOWN: tuple[tuple[tuple[str, ...], type[FedOpsError], str], ...] = (
    (("no space left", "disk quota"), Unavailable, _DISK),
    (("host key verification failed", "known by any other names"), Forbidden, _HOST_KEY),
    (("dubious ownership",), Forbidden, _OWNER),
    (
        (
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied (",
            "terminal prompts disabled",
            "returned error: 401",
            "returned error: 403",
            "access denied",
        ),
        Forbidden,
        _REFUSED,
    ),
    (("certificate",), Unavailable, _CERTIFICATE),
    (
        (
            "could not resolve",
            "failed to connect",
            "connection refused",
            "connection timed out",
            "operation timed out",
            "network is unreachable",
            "no route to host",
            "connection reset",
            "couldn't connect",
            "unable to connect",
        ),
        Unavailable,
        _AWAY,
    ),
    (
        (
            "not a git repository",
            "does not appear to be a git repository",
            "does not exist",
            "repository not found",
            "not found",
            "no such file or directory",
            "permission denied",
        ),
        NotFound,
        _NONE,
    ),
    (("transport '",), Invalid, "{url}: this kind of URL is not read"),
)
