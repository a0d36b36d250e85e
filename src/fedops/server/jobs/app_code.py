"""Where code of apps runs on this server, and what it gets to see: run folders, their owner, their bounds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fedops.core.contracts import EngineTicket
from fedops.core.contracts.confinement import Confinement
from fedops.core.errors import Invalid
from fedops.platforms.confinement import as_user, hand_to, is_user, may_switch, show_to_all
from fedops.processes.confining import CACHES, secret_places
from fedops.processes.spawn import clean_env, without_credentials
from fedops.server.database.blob_stores import FOLDER
from fedops.server.database.database import parse_url
from fedops.settings import ServerSettings

#: Keys that only a program of this user's needs.
_KEYS = (".aws", ".docker", ".kube", ".netrc", ".pgpass")
#: Variables that say where the server and its database are.
_OURS = ("FEDOPS_SERVER_", "FEDOPS_CLIENT_", "FLWR_")
_PROBE = "import fedops.flower.server_app"


@dataclass(frozen=True)
class AppCode:
    """What the settings of a server say of it."""

    settings: ServerSettings

    @property
    def user(self) -> str | None:
        return self.settings.engine_user

    def require(self) -> None:
        """That it can be done.

        Raises:
            Invalid: the user that is set does not exist, or cannot run this Python, or we may not switch.
        """
        if self.user is None:
            return
        name = f"FEDOPS_SERVER_ENGINE_USER = {self.user}"
        if not may_switch():
            raise Invalid(
                f"{name}: only root may run code as another user; leave it out, or be root"
            )
        if not is_user(self.user):
            raise Invalid(f"{name}: this machine has no such user; make it with 'useradd --system'")
        self._make_folders()
        self._try(name)

    def _make_folders(self) -> None:
        """Others pass through, and see no names."""
        for folder in (self.settings.engine_folder, self.settings.engine_folder / "engine"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)

    def _try(self, name: str) -> None:
        assert self.user is not None
        folder = self.settings.engine_folder / "engine"
        command = [sys.executable, "-c", f"import os; os.stat({str(folder)!r}); {_PROBE}"]
        env = without_credentials(clean_env())
        try:
            subprocess.run(
                command, check=True, capture_output=True, env=env, cwd="/", **as_user(self.user)
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            raise Invalid(
                f"{name}: this user cannot run FedOps: {said[-1] if said else ''}"
            ) from None
        except OSError as error:
            raise Invalid(
                f"{name}: this user cannot run {error.filename}: {error.strerror}; let it read this "
                f"Python and get to {folder} (FEDOPS_SERVER_ENGINE_HOME)"
            ) from None

    # --- folders -----------------------------------------------------------------------------------

    def work_folder(self, attempt_id: int) -> Path:
        """What an attempt writes beside its spool."""
        return self.settings.engine_folder / "engine" / f"work-{attempt_id}"

    @property
    def kept_folder(self) -> Path:
        """Where that stays which apps have written in it."""
        return self.settings.engine_folder / "engine" / "kept"

    def prepare(self, ticket: EngineTicket) -> EngineTicket:
        """Make the folders of an attempt. The ticket then says how it is held."""
        work, spool = self.work_folder(ticket.attempt_id), ticket.spool_dir
        for folder in (work, work / "tmp", *([spool] if spool else [])):
            self._make(folder)
        if self.user is not None:
            ticket.app_dir.parent.chmod(0o711)
            show_to_all(ticket.app_dir)
        return ticket.model_copy(update={"confinement": self._of_attempt(ticket, work)})

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.user is not None:
            for above in folder.parents:
                if above == self.settings.engine_folder:
                    break
                with contextlib.suppress(PermissionError):
                    above.chmod(above.stat().st_mode | 0o011)
            hand_to(self.user, folder)

    def _of_attempt(self, ticket: EngineTicket, work: Path) -> Confinement | None:
        if self.settings.engine_confinement == "off":
            return Confinement(files=False, user=self.user) if self.user else None
        parts = urlsplit(ticket.server_url)
        spool = [ticket.spool_dir] if ticket.spool_dir else []
        return self._bounds(
            readable=[ticket.app_dir, *([ticket.python.parent.parent] if ticket.python else [])],
            nameless=[self.settings.home / FOLDER],
            writable=[work, *spool],
            port=parts.port or (443 if parts.scheme == "https" else 80),
        )

    def of_check(self, app_dir: Path, folder: Path) -> Confinement | None:
        """How code is held that is only tried: it gets no network at all."""
        if self.user is not None:
            app_dir.parent.chmod(0o711)
            show_to_all(app_dir)
            hand_to(self.user, folder)
        if self.settings.engine_confinement == "off":
            return Confinement(files=False, user=self.user) if self.user else None
        return self._bounds(readable=[app_dir], nameless=[], writable=[folder], port=0)

    def _bounds(
        self, *, readable: list[Path], nameless: list[Path], writable: list[Path], port: int
    ) -> Confinement:
        here = Path.home()
        return Confinement(
            hidden=[*secret_places(*self._own()), *(here / name for name in _KEYS)],
            readable=readable,
            nameless=nameless,
            writable=[*writable, *(here / name for name in CACHES)],
            port=port,
            user=self.user,
            required=self.settings.engine_confinement == "require",
        )

    def _own(self) -> list[Path]:
        url = parse_url(self.settings.database)
        sqlite = url.get_backend_name() == "sqlite" and url.database
        files = [Path(url.database)] if sqlite and url.database else []
        keys = [self.settings.tls_key] if self.settings.tls_key else []
        return [self.settings.home, self.settings.engine_folder, *files, *keys]

    # --- environment -------------------------------------------------------------------------------

    def env(self, work: Path) -> dict[str, str]:
        """The environment of whoever imports an app: no credential, no folder of the server's."""
        env = without_credentials(clean_env())
        env = {name: value for name, value in env.items() if not name.startswith(_OURS)}
        env["TMPDIR"] = str(work / "tmp") if work.joinpath("tmp").is_dir() else str(work)
        return env | ({"HOME": str(work), "USER": self.user} if self.user else {})
