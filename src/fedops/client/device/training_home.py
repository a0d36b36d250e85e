"""Where the training client works: in the data dir, or with a user of its own in a folder beside it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import Limits
from fedops.core.contracts.confinement import Confinement
from fedops.core.errors import Invalid
from fedops.platforms.confinement import hand_to, is_user, may_switch
from fedops.processes.confining import secret_places

#: Processes and threads of a user that has nothing else.
_PROCESSES = 4_096
#: Of its own memory a process asks for more than it uses: what ends it before it takes all of a machine's.
_MEMORY_FACTOR, _MEMORY_MORE_MB = 2, 1_024


@dataclass(frozen=True)
class TrainingHome:
    """The folder, and how the app's code is held in it."""

    home: DataDir
    limits: Limits
    #: Where the app's explanations go, below the folder.
    output_dir: str = "outputs"

    @property
    def user(self) -> str | None:
        return self.limits.user or None

    @property
    def place(self) -> DataDir:
        """As the training client sees it."""
        if self.user is None:
            return self.home
        path = self.home.path
        return DataDir(path.with_name(f"{path.name}-{self.user}"))

    def prepare(self) -> None:
        """Make its folders, for whom they are.

        Raises:
            Invalid: the user that ``device.toml`` names does not exist, or we may not switch to it.
        """
        place = self.place
        if self.user is not None:
            _require(self.user, self.home.device_config)
            place.path.mkdir(parents=True, exist_ok=True, mode=0o711)
            place.path.chmod(0o711)  # our own: nobody but us removes or replaces what is in it
            if self.home.device_config.exists():
                shutil.copyfile(self.home.device_config, place.device_config)
                place.device_config.chmod(0o644)
        place.make_training_token()
        for path in self._its_own():
            path.mkdir(parents=True, exist_ok=True)
            self._hand_over(path)
        self._hand_over(place.training_token)

    def _hand_over(self, path: Path) -> None:
        if self.user is not None:
            hand_to(self.user, path)

    def _its_own(self) -> list[Path]:
        place = self.place
        first = Path(self.output_dir).parts[:1]
        names = ("tmp", "wandb", *first)
        own = [
            place.rounds,
            place.states,
            place.epochs,
            place.looks,
            *(place.path / name for name in names),
        ]
        return [*own, place.path / "home"] if self.user else [*own, place.work]

    def confinement(self, app_dir: Path) -> Confinement | None:
        """What the training client is told. None: nothing was wished."""
        limits, place = self.limits, self.place
        if not (limits.confine or limits.user or limits.memory_mb or limits.processes):
            return None
        memory = limits.memory_mb * _MEMORY_FACTOR + _MEMORY_MORE_MB if limits.memory_mb else 0
        return Confinement(
            files=limits.confine,
            hidden=secret_places(self.home.path, place.path),
            readable=[place.device_config, place.models, place.training_token],
            writable=[*self._its_own(), place.work, app_dir],
            writes_rest=True,
            user=self.user,
            required=limits.confine,
            data_bytes=memory << 20,
            processes=limits.processes or (_PROCESSES if self.user else 0),
        )

    def env(self) -> dict[str, str]:
        """What its environment has beside ours."""
        temporary = {"TMPDIR": str(self.place.path / "tmp")}
        if self.user is None:
            return temporary if self.limits.confine else {}
        return {**temporary, "USER": self.user, "HOME": str(self.place.path / "home")}


def _require(user: str, where: Path) -> None:
    if not may_switch():
        raise Invalid(
            f"{where}: [limits] user = '{user}': only root may run the training client as another user; "
            "leave it out, or run the Client Manager as root"
        )
    if not is_user(user):
        raise Invalid(
            f"{where}: [limits] user = '{user}': this machine has no such user; make it with "
            f"'useradd --system {user}'"
        )
