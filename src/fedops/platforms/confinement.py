"""What a process gives up before it runs code of others: files, network, its user, memory, core files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedops.platforms import landlock, seccomp

_PR_SET_DUMPABLE = 4
_CAPABILITY_VERSION = 0x20080522
#: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID.
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4


@dataclass(frozen=True)
class Bounds:
    """What is wished. What the system cannot do is left out, and named."""

    #: Whether files are a matter at all.
    files: bool = True
    #: Folders and files that are not to be seen, but for those below.
    hidden: Sequence[Path] = ()
    readable: Sequence[Path] = ()
    #: May be read by who knows the names in them.
    nameless: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    #: Whether all that is not hidden may be written too.
    writes_rest: bool = False
    #: The only TCP port that may be connected to. None: the network is no matter.
    port: int | None = None
    #: Whose process it becomes.
    user: str | None = None


@dataclass(frozen=True)
class InForce:
    """What holds now."""

    files: bool = False
    port: int | None = None
    user: str | None = None
    #: What was wished and is not so, each with the reason.
    lacking: tuple[str, ...] = ()


def confine(bounds: Bounds) -> InForce:
    """Give up what is not needed. Before any other thread is there: only this one would be confined.

    ``OSError``: this process may not become that user. What else cannot be done is named.
    """
    if (threads := _threads()) > 1:
        raise OSError(f"{threads} threads run already, and only this one would be confined")
    lacking: list[str] = []
    rules = _rules(bounds, lacking)
    if bounds.user is not None:
        become(bounds.user)
    elif bounds.files:
        drop_capabilities()
    files = _restrict(rules, lacking)
    port = _restrict_network(bounds, rules if files else None, lacking)
    return InForce(files, port, bounds.user, tuple(lacking))


def _rules(bounds: Bounds, lacking: list[str]) -> landlock.Ruleset | None:
    if not bounds.files:
        return None
    if not landlock.version():
        lacking.append("files: this system has no Landlock")
        return None
    rules = landlock.Ruleset(ports=bounds.port is not None)
    rules.allow_all_but(bounds.hidden, write=bounds.writes_rest)
    for path in bounds.readable:
        rules.allow(path)
    for path in bounds.nameless:
        rules.allow(path, names=False)
    for path in bounds.writable:
        rules.allow(path, write=True)
    if bounds.port is not None:
        rules.allow_connect(bounds.port)
    return rules


def _restrict(rules: landlock.Ruleset | None, lacking: list[str]) -> bool:
    if rules is None:
        return False
    try:
        rules.restrict()
    except OSError as error:
        lacking.append(f"files: {error.strerror}")
        return False
    return True


def _restrict_network(
    bounds: Bounds, rules: landlock.Ruleset | None, lacking: list[str]
) -> int | None:
    """The port that is left, if no other way is."""
    if bounds.port is None:
        return None
    if not seccomp.is_known():
        lacking.append("network: there is no filter for this system")
        return None
    if rules is None or not rules.knows_ports:
        lacking.append(f"network: Landlock is of version {landlock.version()}, ports need 4")
        return None
    try:
        landlock.set_no_new_privileges()
        seccomp.allow_only_tcp()
    except OSError as error:
        lacking.append(f"network: {error.strerror}")
        return None
    return bounds.port


def _threads() -> int:
    """How many this process has, where that can be told."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return 1


# --- users ---------------------------------------------------------------------------------------


def may_switch() -> bool:
    """Whether this process may become another user."""
    return sys.platform != "win32" and os.geteuid() == 0


def user_name() -> str:
    """Whose process this is."""
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "")
    else:
        import pwd

        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())


def is_user(name: str) -> bool:
    """Whether this machine has a user of this name."""
    if sys.platform == "win32":
        return False
    else:
        import pwd

        with suppress(KeyError):
            pwd.getpwnam(name)
            return True
        return False


def become(user: str) -> None:
    """This process is that user's, for good. ``OSError``: it may not, or there is no such user."""
    if sys.platform == "win32":
        raise OSError(f"no process can become the user '{user}' on this system")
    else:
        import pwd

        try:
            found = pwd.getpwnam(user)
        except KeyError:
            raise OSError(f"this machine has no user '{user}'") from None
        os.initgroups(user, found.pw_gid)
        os.setgid(found.pw_gid)
        os.setuid(found.pw_uid)
        # The kernel took our own descriptors and memory map from us with the change.
        _prctl(_PR_SET_DUMPABLE, 1)


def show_to_all(folder: Path) -> None:
    """What lies in it may be read by every user who gets there."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def hand_to(user: str, path: Path) -> None:
    """A folder or file becomes that user's; nobody else reads it. A link is left as it is."""
    if sys.platform != "win32":
        import pwd

        found = pwd.getpwnam(user)
        os.chown(path, found.pw_uid, found.pw_gid, follow_symlinks=False)
        path.chmod(0o700 if path.is_dir() else 0o600)


def as_user(user: str) -> dict[str, Any]:
    """For ``Popen``: the child is that user's from its start."""
    if sys.platform == "win32":
        return {}
    else:
        import pwd

        found = pwd.getpwnam(user)
        groups = os.getgrouplist(user, found.pw_gid)
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}


def drop_capabilities() -> None:
    """Of what root may do, no more than with files is left, for good: no other process is looked into."""
    if sys.platform == "linux" and os.geteuid() == 0:
        import ctypes
        import struct

        libc = ctypes.CDLL(None, use_errno=True)
        head = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
        kept = struct.pack("=6I", _OF_FILES, _OF_FILES, 0, 0, 0, 0)
        libc.capset(head, kept)


# --- what is left of a process ------------------------------------------------------------------


def write_no_core() -> None:
    """Neither this process nor its children leave a file with their memory when they crash."""
    if sys.platform != "win32":
        import resource

        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hide_memory() -> None:
    """No other process of this user reads our memory, environment or descriptors. Children: as ever."""
    _prctl(_PR_SET_DUMPABLE, 0)


def limit_memory(data_bytes: int) -> None:
    """So much of its own memory may this process have, and each child. Only Linux counts it."""
    if sys.platform == "linux":
        import resource

        _lower(resource.RLIMIT_DATA, data_bytes)


def limit_processes(most: int) -> None:
    """So many processes and threads may this user have, of whatever program. root has no such limit."""
    if sys.platform != "win32":
        import resource

        _lower(resource.RLIMIT_NPROC, most)


def _lower(which: int, most: int) -> None:
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(which, (most, most))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
