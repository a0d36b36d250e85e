"""Git, run on what is not ours: no shell, no hooks, no prompt, within limits, ended as a whole."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fedops.core.errors import Forbidden, Invalid, Unavailable
from fedops.processes.process_tree import end_tree
from fedops.processes.spawn import let_go, spawn, tethered
from fedops.settings import ServerSettings

#: How long what needs no network may take. Seconds.
LOCAL_SECONDS = 120.0
#: A longer answer than this is none that we asked for. Bytes.
MOST_OUTPUT = 32 << 20
_SAID = 4_000
_WATCH_SECONDS = 0.2
#: What Git and ssh may know of this process: where programs, proxies, authorities and the agent are.
_KEPT = (
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "TMPDIR",
    "SYSTEMROOT",
)
_OPTIONS = (
    "protocol.ext.allow=never",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "transfer.bundleURI=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "credential.helper=",
)


class GitFailed(Exception):
    """Git ended with an error; what it said is for ``git_errors`` to put into words."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True)
class GitAccess:
    """With which credentials Git reaches others, and how much it may take."""

    home: Path
    credentials: Path | None = None
    ssh_key: Path | None = None
    #: For one call over the network. Seconds.
    seconds: float = 600.0
    #: Of a mirror. Bytes.
    most_bytes: int = 2 << 30

    @classmethod
    def of(cls, settings: ServerSettings) -> GitAccess:
        return cls(
            settings.home / "git",
            settings.git_credentials,
            settings.git_ssh_key,
            settings.git_seconds,
            settings.max_repository_bytes,
        )

    def command(self, git_dir: Path | None, words: Sequence[str]) -> list[str]:
        """The whole command line. ``Unavailable``: there is no Git on this machine."""
        git = shutil.which("git")
        if git is None:
            raise Unavailable(
                "Git is not installed on the server's machine: install it (package 'git') to use sources"
            )
        where = [f"--git-dir={git_dir}"] if git_dir else []
        options = [part for option in (*_OPTIONS, *self._helper()) for part in ("-c", option)]
        return [git, *where, *options, *words]

    def _helper(self) -> list[str]:
        """Git may read the file of credentials; it may not take out of it what a host refused."""
        if self.credentials is None:
            return []
        _require_private(self.credentials, "FEDOPS_SERVER_GIT_CREDENTIALS")
        file = shlex.quote(str(self.credentials))
        read = f'!f() {{ test "$1" != get || git credential-store --file={file} get; }}; f'
        return [f"credential.helper={read}", "credential.useHttpPath=false"]

    def env(self) -> dict[str, str]:
        """The environment of Git: nothing of this user's or this machine's settings."""
        kept = {k: v for k, v in os.environ.items() if k.upper() in _KEPT}
        home = self.home / "home"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return kept | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_SSH_COMMAND": self._ssh(),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _ssh(self) -> str:
        """Hosts must be known already: nobody is there to be asked whether a key is right."""
        words = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        words += ["-o", "ConnectTimeout=20"]
        if self.ssh_key is not None:
            _require_private(self.ssh_key, "FEDOPS_SERVER_GIT_SSH_KEY")
            words += ["-i", str(self.ssh_key), "-o", "IdentitiesOnly=yes"]
        return shlex.join(words)


def _require_private(file: Path, name: str) -> None:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise Unavailable(f"{name}: {file} cannot be read: {error.strerror}") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise Forbidden(f"{name}: others can read {file}; make it yours alone: chmod 600 {file}")


# --- over the network ------------------------------------------------------------------------


def ask_others(
    access: GitAccess,
    git_dir: Path | None,
    words: Sequence[str],
    *,
    grown: Callable[[], int] = lambda: 0,
) -> bytes:
    """Run a Git that may call another machine; returns what it printed.

    Ended with all it started when it takes too long, prints too much, or ``grown()`` (bytes) is too much.

    Raises:
        GitFailed: it ended with an error.
        Unavailable: it took too long, or there is no Git.
        Invalid: the repository is larger than the limit.
    """
    command = tethered(access.command(git_dir, words), grace=1.0)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = spawn(command, env=access.env(), cwd=Path("/"), stdout=output, stderr=errors)
        try:
            code = _watched(child, access, lambda: os.fstat(output.fileno()).st_size, grown)
        finally:
            end_tree(child.pid, 2.0)
            let_go(child)
            child.wait()
        if code:
            raise GitFailed(_tail(errors))
        output.seek(0)
        return output.read(MOST_OUTPUT + 1)


def _watched(
    child: subprocess.Popen[bytes],
    access: GitAccess,
    printed: Callable[[], int],
    grown: Callable[[], int],
) -> int:
    until = time.monotonic() + access.seconds
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(_WATCH_SECONDS)
        if time.monotonic() > until:
            raise Unavailable(
                f"the repository did not answer within {access.seconds:.0f} s; is it reachable from the "
                "server? More time: FEDOPS_SERVER_GIT_SECONDS"
            )
        if printed() > MOST_OUTPUT or grown() > access.most_bytes:
            raise Invalid(
                f"the repository is larger than {access.most_bytes >> 20:,} MiB; keep data out of Git, or "
                "allow more with FEDOPS_SERVER_MAX_REPOSITORY_BYTES"
            )


def _tail(file: IO[bytes]) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - _SAID, 0))
    return file.read().decode(errors="replace")


# --- on this machine -------------------------------------------------------------------------


def ask_mirror(access: GitAccess, git_dir: Path, *words: str, most: int = MOST_OUTPUT) -> bytes:
    """What a Git prints that needs this mirror alone.

    Raises:
        GitFailed: it ended with an error, printed more than ``most`` bytes or took too long.
    """
    with running(access, git_dir, words) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdin.close()
        found = child.stdout.read(most + 1)
        if len(found) > most:
            raise GitFailed("it answered more than was asked for")
    return found


@contextmanager
def running(
    access: GitAccess, git_dir: Path, words: Sequence[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A Git whose stdin and stdout are pipes. ``GitFailed`` after the block, if it failed."""
    with tempfile.TemporaryFile() as errors:
        child = spawn(
            access.command(git_dir, words),
            env=access.env(),
            cwd=Path("/"),
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        late = threading.Timer(LOCAL_SECONDS, end_tree, (child.pid, 0.0))
        late.daemon = True
        late.start()
        try:
            yield child
            let_go(child)
            code = child.wait()
        finally:
            late.cancel()
            end_tree(child.pid, 0.0)
            let_go(child)
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        if code:
            raise GitFailed(_tail(errors))
