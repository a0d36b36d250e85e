"""Files that the command reads and writes: told, and on a device denied where nobody allowed them."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from typing import Any

from fedops_watch.recorder import Recorder

#: Files of each kind that are told at most.
_MOST = 200
#: Changes to what a path names, beside writing to it; the path is the first argument.
_CHANGES = (
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.rename",
    "os.link",
    "os.symlink",
)
_QUIET = ("/dev/", "/proc/", "/sys/", "/run/")
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """An audit hook. It cannot be taken off, so it looks at few events, and at nothing of a worker."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        job = recorder.job
        self._folder = job.home
        self._allowed: tuple[str, ...] | None = None
        if job.writable is not None:
            own = [self._folder, job.folder, tempfile.gettempdir()]
            self._allowed = tuple(map(os.path.realpath, [*own, *job.writable]))
        paths = sysconfig.get_paths()
        self._libraries = tuple(
            {os.path.realpath(paths[n]) + os.sep for n in ("stdlib", "purelib")}
        )
        self.written: dict[str, None] = {}
        self.read: dict[str, None] = {}
        self._busy = False

    def install(self) -> None:
        sys.addaudithook(self._hook)
        self._recorder.on_write = self.writes
        self._recorder.at_end(self._fill)

    def _fill(self) -> None:
        self._recorder.answer.update(written=list(self.written), read=list(self.read))

    def _hook(self, event: str, args: Any) -> None:
        if event == "open":
            if not self._busy and isinstance(args[0], (str, os.PathLike)):
                self._open(os.fspath(args[0]), args[1], args[2])
        elif event in _CHANGES and not self._busy and isinstance(args[0], (str, os.PathLike)):
            if event == "os.mkdir" and os.path.isdir(args[0]):
                return  # it is there: nothing will change
            self.writes(os.fspath(args[1] if event in ("os.link", "os.symlink") else args[0]))
            if event == "os.rename":
                self.writes(os.fspath(args[1]))

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        writes = any(sign in mode for sign in "wax+") if mode else bool((flags or 0) & _WRITE_FLAGS)
        if writes:
            self.writes(path)
        elif len(self.read) < _MOST:
            self._reads(path)

    def _reads(self, path: Any) -> None:
        name = os.path.abspath(os.fsdecode(path))
        if name.startswith((*_QUIET, *self._libraries)) or name.endswith((".py", ".pyc", ".so")):
            return
        if "site-packages" not in name and not self._is_ours(name) and not os.path.isdir(name):
            self.read.setdefault(self._as_read(os.fsdecode(path), name))

    def _as_read(self, path: str, name: str) -> str:
        """A file above the folder that was named as seen from it keeps that name: ``../data/x.csv``."""
        here = os.path.abspath(os.curdir)
        inside = here == self._folder or here.startswith(self._folder + os.sep)
        if inside and not os.path.isabs(path) and os.path.exists(name):
            return os.path.relpath(name, self._folder)
        return self._seen_from_folder(name)

    def writes(self, path: Any) -> None:
        """A file is about to be written.

        Raises:
            PermissionError: nobody allowed the command to write there.
        """
        self._busy = True
        try:
            name = os.path.abspath(os.fsdecode(path))
            if name.startswith(_QUIET) or self._is_ours(name) or "__pycache__" in name:
                return
            if self._allowed is not None:
                self._break_links(name)
                self._require(name)
            if len(self.written) < _MOST:
                self.written.setdefault(self._seen_from_folder(name))
        finally:
            self._busy = False

    def _is_ours(self, name: str) -> bool:
        return name.startswith(os.path.abspath(self._recorder.job.folder) + os.sep)

    def _seen_from_folder(self, name: str) -> str:
        return name[len(self._folder) + 1 :] if name.startswith(self._folder + os.sep) else name

    def _require(self, name: str) -> None:
        real = os.path.realpath(name)
        allowed = self._allowed or ()
        if not any(real == place or real.startswith(place + os.sep) for place in allowed):
            self._recorder.note(
                "write_denied",
                f"the command was kept from writing to {name}; name a path below its own folder, or"
                " allow it on this device",
                weight="difference",
            )
            raise PermissionError(13, "writing here is not allowed on this device", name)

    def _break_links(self, name: str) -> None:
        """Below the working folder, what is written to is a file of its own: links become copies first."""
        if not name.startswith(self._folder + os.sep):
            return
        place = self._folder
        for part in name[len(self._folder) + 1 :].split(os.sep):
            place = os.path.join(place, part)
            if os.path.islink(place):
                _break(place)


def _break(link: str) -> None:
    """A link to a folder becomes a folder of links; one to a file becomes a copy."""
    target = os.path.realpath(link)
    own = link + ".fedops-own"
    if os.path.isdir(target):
        os.mkdir(own)
        for entry in os.listdir(target):
            os.symlink(os.path.join(target, entry), os.path.join(own, entry))
        os.remove(link)
        os.rename(own, link)
    elif os.path.exists(target):
        shutil.copy2(target, own)
        os.replace(own, link)
    else:
        os.remove(link)
