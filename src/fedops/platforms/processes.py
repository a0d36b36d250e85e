"""Processes as each operating system has them: how they end, what a child inherits, what they may use."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil

#: What a process cannot refuse. On Windows every signal that psutil sends is of that kind.
KILL: signal.Signals = getattr(signal, "SIGKILL", signal.SIGTERM)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: Between two looks at a process, where none can be waited for. Seconds.
_LOOK_SECONDS = 0.02


# --- ending ------------------------------------------------------------------------------------


def await_exit(pid: int, seconds: float) -> None:
    """Return at the end of a process, or earlier. Unlike wait() it leaves the exit code to its parent."""
    if sys.platform == "linux":
        import select

        with contextlib.suppress(AttributeError, OSError):  # an older kernel, or it is gone
            handle = os.pidfd_open(pid)
            try:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                poll.poll(seconds * 1000)
            finally:
                os.close(handle)
            return
    time.sleep(min(seconds, _LOOK_SECONDS))


def end_by_kernel_after_parent() -> None:
    """Three seconds after the parent's death this process ends, whatever it does. Only Linux can do so."""
    # The watching thread needs the interpreter; native code may never give it back. The kernel sends
    # SIGQUIT when the parent dies. Its handler is libc's alarm() itself, called with the signal's number
    # (3) as its argument: three seconds later SIGALRM ends the process, Python or not.
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal.restype = ctypes.c_void_p
        libc.signal(int(signal.SIGQUIT), ctypes.cast(libc.alarm, ctypes.c_void_p))
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT))


def adopt_orphans() -> None:
    """What our descendants leave behind becomes our child, so that we find it. Only Linux can do so."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def killed_with_us() -> dict[str, Any]:
    """For ``Popen`` in a process without threads: on Linux the child dies at once when we do."""
    if sys.platform == "linux":
        return {"preexec_fn": lambda: _prctl(_PR_SET_PDEATHSIG, int(KILL))}
    else:
        return {}


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


# --- what a child inherits -----------------------------------------------------------------------


def of_its_own(descriptors: Sequence[int] = ()) -> dict[str, Any]:
    """For ``Popen``: a child that our terminal's Ctrl-C does not reach, with these descriptors of ours."""
    if sys.platform == "win32":
        import msvcrt
        import subprocess

        for descriptor in descriptors:
            os.set_handle_inheritable(msvcrt.get_osfhandle(descriptor), True)
        group = subprocess.CREATE_NEW_PROCESS_GROUP
        return {"close_fds": not descriptors, "creationflags": group}
    else:
        return {"pass_fds": tuple(descriptors), "start_new_session": True}


def number_for_child(descriptor: int) -> int:
    """What a child that inherits a descriptor of ours is to be told."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.get_osfhandle(descriptor)
    else:
        return descriptor


def inherited_descriptor(number: int) -> int:
    """The descriptor of which the parent said this number, to write to."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.open_osfhandle(number, os.O_WRONLY)
    else:
        return number


# --- what it may use -----------------------------------------------------------------------------


def lower_priority(nice: int) -> None:
    """0 changes nothing, at 19 a process gets only what nothing else wants. Windows has two steps for it."""
    if sys.platform == "win32":
        if nice:
            low, idle = psutil.BELOW_NORMAL_PRIORITY_CLASS, psutil.IDLE_PRIORITY_CLASS
            psutil.Process().nice(idle if nice >= 15 else low)
    else:
        os.nice(nice)


def end_first_when_memory_lacks() -> None:
    """On Linux: when memory runs out, this process is ended before others of its size."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")


def raise_open_files(wanted: int) -> None:
    """So many open files and connections, or as many as this user may have. Windows has no such limit."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft < most:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
