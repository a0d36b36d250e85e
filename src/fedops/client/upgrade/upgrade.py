"""``fedops client upgrade``: install the server's release of FedOps, and go back unless it works."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fedops.client.device.authority_pin import pinned_authorities
from fedops.client.device.data_dir import DataDir, load_identity
from fedops.client.local.status import restart_program
from fedops.client.upgrade.kept_release import KeptRelease
from fedops.core.errors import Conflict, FedOpsError, Unavailable
from fedops.processes.spawn import clean_env
from fedops.settings import ClientSettings
from fedops.storage.shortages import why_not_written

logger = logging.getLogger("fedops.client")

#: How long the new release has to reach the server. Seconds.
REACH_SECONDS = 60.0
#: How long installing may take. Seconds.
INSTALL_SECONDS = 1_800.0
_FIRST_WORDS = "fedops.client.upgrade.first_words"
_TAIL = 5


@dataclass(frozen=True)
class Upgraded:
    """How it ended. ``before`` and ``now`` are releases."""

    before: str
    now: str
    #: A Client Manager ran, and was told to end so that its service starts the new release.
    restarting: bool

    @property
    def message(self) -> str:
        """For the owner of the device."""
        if self.before == self.now:
            return f"this device has FedOps {self.now}, and so has its server"
        after = (
            "the Client Manager ends now; its service starts the new release"
            if self.restarting
            else "no Client Manager runs here: the next start is the new release"
        )
        return f"FedOps {self.now} is installed in place of {self.before}; {after}"


def upgrade(
    settings: ClientSettings, *, seconds: float = REACH_SECONDS, restart: bool = True
) -> Upgraded:
    """Install the release that the device's server serves, into the environment that this program runs in.

    The new release must start and reach the server within ``seconds``; otherwise the one before is put back.
    ``restart``: have the Client Manager that runs here end, so that its service starts the new release.

    Raises:
        Conflict: this installation cannot be replaced.
        Unavailable: the server does not serve FedOps, or the new release does not work here.
    """
    place = DataDir(settings.home)
    identity = load_identity(place)
    url = (settings.server or identity.server).rstrip("/")
    try:
        kept = KeptRelease.keep(place.path / "release-before")
    except OSError as error:
        raise Unavailable(why_not_written(error, place.path, "this device")) from None
    try:
        _install(url, pinned_authorities(place, settings.ca_file))
        now = _first_words(place.path, seconds)
    except BaseException as error:  # Ctrl-C, too: half an upgrade must not stay
        kept.bring_back()
        kept.forget()
        if not isinstance(error, FedOpsError):
            raise
        raise Unavailable(f"{error.message}; FedOps {kept.version} was put back") from None
    kept.forget()
    return Upgraded(kept.version, now, restart and now != kept.version and _restart(place.path))


def _install(url: str, authorities: Path | None) -> None:
    """The server's FedOps first, whichever is newer; then what it needs and is not here."""
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
    pip.append("--no-compile")  # it is compiled as it is used
    index = [
        "--index-url",
        f"{url}/simple/",
        *(["--cert", str(authorities)] if authorities else []),
    ]
    for words in (["--force-reinstall", "--no-deps"], []):
        _run(
            [*pip, *index, *words, "fedops"], INSTALL_SECONDS, f"{url}/simple/ did not give FedOps"
        )


def _first_words(home: Path, seconds: float) -> str:
    command = [sys.executable, "-m", _FIRST_WORDS, str(home), f"{seconds}"]
    what = "the new release does not work here"
    return _run(command, seconds + 60.0, what).strip().splitlines()[-1]


def _run(command: list[str], seconds: float, what: str) -> str:
    """What a program printed. ``Unavailable`` begins with ``what`` when it failed."""
    own = {"PIP_CONFIG_FILE": os.devnull, "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}
    try:
        done = subprocess.run(
            command,
            env=clean_env(own),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{what}: it was not done within {seconds:.0f} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).strip().splitlines()[-_TAIL:])
        raise Unavailable(f"{what}: {said}")
    return done.stdout


def _restart(home: Path) -> bool:
    try:
        restart_program(home)
    except (Conflict, FedOpsError) as error:
        logger.debug("no Client Manager to start again: %s", error.message)
        return False
    return True
