"""Landlock: what a process of Linux may touch from now on, by its own wish. Nothing takes it back."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

#: The same on every architecture.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_ASK_VERSION, _BENEATH, _PORT = 1, 1, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_OF_FIRST = (1 << 13) - 1
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_BIND_TCP, _CONNECT_TCP = 1, 1 << 1
#: Abstract sockets and signals of processes outside.
_SCOPED = 3
_PR_SET_NO_NEW_PRIVS = 38
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_DEVICES, _OF_KERNEL = Path("/dev"), (Path("/proc"), Path("/sys"))
#: From this version on it knows of TCP ports, of sockets and signals.
PORTS, SCOPES = 4, 6


def version() -> int:
    """What of it this kernel has: 0 is nothing."""
    if sys.platform == "linux":
        return max(_syscall(_CREATE, None, 0, _ASK_VERSION), 0)
    else:
        return 0


class Ruleset:
    """What is to stay allowed. It holds for this thread, and all that it starts, after ``restrict``."""

    def __init__(self, *, ports: bool) -> None:
        found = version()
        self._files = _OF_FIRST | (_REFER if found >= 2 else 0) | (_TRUNCATE if found >= 3 else 0)
        self.knows_ports = ports and found >= PORTS
        net = _BIND_TCP | _CONNECT_TCP if self.knows_ports else 0
        words = [self._files, net, _SCOPED if found >= SCOPES else 0]
        size = 24 if found >= SCOPES else 16 if found >= PORTS else 8
        data = struct.pack("=3Q", *words)[:size]
        self._number = _checked(_syscall(_CREATE, data, size, 0))

    def allow(self, path: Path, *, write: bool = False, names: bool = True) -> None:
        """All below it may be read, or written too. Not ``names``: only by who knows the name."""
        access = _READ_FILE | _EXECUTE | (_READ_DIR if names else 0)
        self._allow(path, self._files if write else access)

    def _allow(self, path: Path, access: int) -> None:
        if sys.platform == "linux":
            with suppress(OSError):  # it is gone, or there never was one
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    access &= self._files if path.is_dir() else _OF_FILES & self._files
                    rule = struct.pack("=Qi", access, place)
                    _checked(_syscall(_ADD, self._number, _BENEATH, rule, 0))
                finally:
                    os.close(place)

    def allow_all_but(self, hidden: Iterable[Path], *, write: bool) -> None:
        """What there is now, without these folders and files, and what contains them.

        Devices may be written to in any case; what the kernel shows of itself in none.
        """
        for path in beside(Path("/"), frozenset(Path(os.path.realpath(h)) for h in hidden)):
            self.allow(path, write=path == _DEVICES or (write and path not in _OF_KERNEL))

    def allow_connect(self, port: int) -> None:
        """TCP to this port. Where ports are known, to no other, and none may be listened on."""
        if self.knows_ports:
            rule = struct.pack("=2Q", _CONNECT_TCP, port)
            _checked(_syscall(_ADD, self._number, _PORT, rule, 0))

    def restrict(self) -> None:
        """From now on."""
        set_no_new_privileges()
        _checked(_syscall(_RESTRICT, self._number, 0))
        os.close(self._number)


def set_no_new_privileges() -> None:
    """No program that is started gets more than this process has, whoever owns it."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def beside(folder: Path, hidden: frozenset[Path]) -> Iterator[Path]:
    """All that lies in it but what is hidden, and of what contains that, what lies beside it."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if path in hidden or entry.is_symlink():
            continue
        if any(path in each.parents for each in hidden):
            yield from beside(path, hidden)
        else:
            yield path


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *given))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
