"""seccomp: system calls that a process of Linux refuses itself. Here: every way to a network but TCP.

Landlock, which stands beside it, knows TCP ports only, and only connections that are made by ``connect``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_ANY, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_STREAM, _TCP, _FAST_OPEN = 1, 6, 0x20000000
_IO_URING_SETUP = 425
#: By machine: what the kernel calls it; its socket, sendto, sendmsg, sendmmsg.
_MACHINES = {
    "x86_64": (0xC000003E, (41, 44, 46, 307)),
    "aarch64": (0xC00000B7, (198, 206, 211, 269)),
}
#: An instruction: its code, where to go if so and if not (a label, or "" for the next), its number.
_Line = tuple[int, str, str, int]


def is_known() -> bool:
    """Whether this machine's calls are known here."""
    return sys.platform == "linux" and platform.machine() in _MACHINES


def allow_only_tcp() -> None:
    """From now on this thread and all that it starts open no socket but TCP and those of this machine.

    ``OSError``: the kernel does not do it. ``set_no_new_privileges`` comes first.
    """
    program = _assembled(_filter())
    buffer = ctypes.create_string_buffer(program)
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, head, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _filter() -> list[tuple[str, _Line]]:
    """The instructions, with the labels that some of them have."""
    architecture, (socket, send_to, send_message, send_messages) = _MACHINES[platform.machine()]
    return [
        ("", (_LOAD, "", "", _ARCHITECTURE)),
        ("", (_JUMP_EQUAL, "", "refuse", architecture)),
        ("", (_LOAD, "", "", _NUMBER)),
        ("", (_JUMP_FROM, "refuse", "", 0x40000000)),  # the same calls by other numbers
        ("", (_JUMP_EQUAL, "refuse", "", _IO_URING_SETUP)),
        ("", (_JUMP_EQUAL, "socket", "", socket)),
        ("", (_JUMP_EQUAL, "fourth", "", send_to)),
        ("", (_JUMP_EQUAL, "third", "", send_message)),
        ("", (_JUMP_EQUAL, "fourth", "allow", send_messages)),
        ("socket", (_LOAD, "", "", _ARGUMENT)),
        ("", (_JUMP_EQUAL, "allow", "", _AF_UNIX)),
        ("", (_JUMP_EQUAL, "type", "", _AF_INET)),
        ("", (_JUMP_EQUAL, "type", "refuse", _AF_INET6)),
        ("type", (_LOAD, "", "", _ARGUMENT + 8)),
        ("", (_AND, "", "", 0xF)),
        ("", (_JUMP_EQUAL, "", "refuse", _STREAM)),
        ("", (_LOAD, "", "", _ARGUMENT + 16)),
        ("", (_JUMP_EQUAL, "allow", "", 0)),
        ("", (_JUMP_EQUAL, "allow", "refuse", _TCP)),
        ("third", (_LOAD, "", "", _ARGUMENT + 16)),
        ("", (_JUMP_ANY, "refuse", "allow", _FAST_OPEN)),
        ("fourth", (_LOAD, "", "", _ARGUMENT + 24)),
        ("", (_JUMP_ANY, "refuse", "allow", _FAST_OPEN)),
        ("allow", (_RETURN, "", "", _ALLOW)),
        ("refuse", (_RETURN, "", "", _REFUSE)),
    ]


def _assembled(lines: list[tuple[str, _Line]]) -> bytes:
    places = {label: number for number, (label, _) in enumerate(lines) if label}

    def steps(label: str, here: int) -> int:
        return places[label] - here - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", code, steps(yes, here), steps(no, here), number)
        for here, (_, (code, yes, no, number)) in enumerate(lines)
    )
