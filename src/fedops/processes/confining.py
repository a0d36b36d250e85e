"""A process that confines itself before it imports an app, and says what is in force."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fedops import failpoints
from fedops.core.contracts.confinement import Confinement
from fedops.core.errors import Unavailable
from fedops.platforms import confinement as platform

#: What libraries keep for the next process, below the user's home.
CACHES = (".cache/huggingface", ".cache/torch", ".cache/matplotlib", ".config/matplotlib", ".keras")


def confine(wanted: Confinement | None) -> str:
    """Give up what ``wanted`` says; a sentence on what is in force. Comes before any thread is started.

    Raises:
        Unavailable: this process may not become that user, or cannot give up what it must.
    """
    platform.write_no_core()
    if wanted is None:
        return f"the app's code is unconfined: it runs as user {platform.user_name()}"
    if wanted.data_bytes:
        platform.limit_memory(wanted.data_bytes)
    if wanted.processes:
        platform.limit_processes(wanted.processes)
    try:
        found = platform.confine(_bounds(wanted))
    except OSError as error:
        text = f"the app's code cannot be run as user {wanted.user}: {error.strerror or error}"
        raise Unavailable(text) from error
    if wanted.required and found.lacking:
        raise Unavailable(
            f"the app's code is not run: it cannot be confined here ({'; '.join(found.lacking)})"
        )
    return sentence(found, platform.user_name())


def _bounds(wanted: Confinement) -> platform.Bounds:
    """With what Python and its libraries need, wherever it lies."""
    python = [Path(place) for place in {sys.prefix, sys.base_prefix, *sys.path} if place]
    marks = [Path(folder)] if (folder := os.environ.get(failpoints.VARIABLE)) else []
    return platform.Bounds(
        files=wanted.files,
        hidden=wanted.hidden,
        readable=[*wanted.readable, *python],
        nameless=wanted.nameless,
        writable=[*wanted.writable, *marks],
        writes_rest=wanted.writes_rest,
        port=wanted.port,
        user=wanted.user,
    )


def sentence(found: platform.InForce, user: str) -> str:
    """What is in force, for people."""
    parts = [f"as user {user}"]
    if found.port is not None:
        parts.append(
            f"without network but TCP port {found.port}" if found.port else "without network"
        )
    if found.files:
        parts.append("without sight of FedOps' own files")
    lacking = f"; not in force: {', '.join(found.lacking)}" if found.lacking else ""
    if not found.files and found.port is None and found.user is None:
        return f"the app's code is unconfined: it runs as user {user}{lacking}"
    return f"the app's code runs {', '.join(parts)}{lacking}"


def secret_places(*homes: Path) -> list[Path]:
    """What no app is to see: these folders, those of FedOps, keys of this user, what systemd hands us."""
    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    own = (Path.home() / name for name in (".fedops", ".ssh", ".gnupg"))
    return [*homes, *own, *([Path(handed)] if handed else [])]
