"""Where the code of a task lies on a device, and its environments.

The folders that the tasks share begin with ``_``, as no task's name does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedops.client.device.training_home import TrainingHome
from fedops.platforms.confinement import hand_to
from fedops.platforms.files import sync_path

_CURRENT = "current"
_GONE = ".gone-"


@dataclass(frozen=True)
class CommitPlace:
    """The folder of one commit."""

    path: Path

    @property
    def app(self) -> Path:
        """The app, once all of it is there."""
        return self.path / "app"

    @property
    def env(self) -> Path:
        """A link to its environment."""
        return self.path / "env"

    @property
    def note(self) -> Path:
        return self.path / "note.json"

    @property
    def bundle(self) -> Path:
        """The bundle while it comes."""
        return self.path / "bundle.zip"

    @property
    def pack(self) -> Path:
        return self.path / "commit.pack"


@dataclass(frozen=True)
class Places:
    """The folders of one task. ``user``: whose the training client is, if it has a user of its own."""

    root: Path
    task: str
    user: str | None = None

    @classmethod
    def of(cls, training: TrainingHome, task: str) -> Places:
        """Where the training client can read it."""
        return cls(training.place.deployments, task, training.user)

    @property
    def path(self) -> Path:
        return self.root / self.task

    @property
    def commits(self) -> Path:
        return self.path / "commits"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def current(self) -> Path:
        """A link to the folder of the commit that runs."""
        return self.path / _CURRENT

    @property
    def environments(self) -> Path:
        """One for each list of wheels, by its digest."""
        return self.root / "_environments"

    @property
    def wheels(self) -> Path:
        return self.root / "_wheels"

    @property
    def cache(self) -> Path:
        """What building an environment may use again."""
        return self.root / "_cache"

    @property
    def coming(self) -> Path:
        """Wheels and models on their way here, by digest."""
        return self.root / "_coming"

    @property
    def trials(self) -> Path:
        return self.root / "_trials"

    def commit(self, commit: str) -> CommitPlace:
        return CommitPlace(self.commits / commit)

    def prepare(self) -> None:
        """Make the folders: of this user alone, or such that the training client's user gets through."""
        mode = 0o711 if self.user else 0o700
        for folder in (self.root, self.path, self.commits, self.environments, self.trials):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
        for folder in (self.wheels, self.cache, self.coming):
            folder.mkdir(mode=0o700, exist_ok=True)

    def make_commit(self, commit: str) -> CommitPlace:
        """Its folder, made."""
        place = self.commit(commit)
        place.path.mkdir(exist_ok=True)
        place.path.chmod(0o711 if self.user else 0o700)
        return place

    # --- which one runs ----------------------------------------------------------------------------

    def linked(self) -> str | None:
        """The commit that ``current`` names."""
        with contextlib.suppress(OSError):
            return Path(os.readlink(self.current)).name
        return None

    def link(self, commit: str | None) -> None:
        """``current`` names this commit from now on, and after a power cut; None: it is gone."""
        if commit is None:
            self.current.unlink(missing_ok=True)
        else:
            new = self.path / f".{_CURRENT}"
            new.unlink(missing_ok=True)
            new.symlink_to(Path("commits") / commit, target_is_directory=True)
            new.replace(self.current)
        sync_path(self.path)

    # --- another user ------------------------------------------------------------------------------

    def give(self, folder: Path) -> None:
        """What lies in a folder becomes the training client's own, if that is another user's."""
        if self.user is not None:
            for path in [folder, *folder.rglob("*")]:
                if not path.is_symlink():
                    hand_to(self.user, path)

    def show(self, folder: Path) -> None:
        """What lies in a folder may be read and run by the training client."""
        if self.user is not None:
            for path in [folder, *folder.rglob("*")]:
                if not path.is_symlink():
                    mode = path.stat().st_mode
                    path.chmod(mode | (0o055 if mode & 0o100 else 0o044))

    def temporary(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for something that is tried, and which goes with it."""
        return tempfile.TemporaryDirectory(
            prefix="try-", dir=self.trials, ignore_cleanup_errors=True
        )


def remembered_task(root: Path) -> str | None:
    """The only task that was ever deployed there."""
    found = [path.parent.name for path in root.glob("[!_.]*/state.json")]
    return found[0] if len(found) == 1 else None


def remove_folder(path: Path) -> None:
    """Whatever is there: a link, a file or a folder with all that is in it.

    A folder loses its name first, so that what is half removed when the machine dies is taken for nothing.
    One that somebody holds fast, as can be on Windows, stays for another time.
    """
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.is_dir():
        gone = path.with_name(f"{_GONE}{path.name.removeprefix(_GONE)}")
        if gone != path:
            shutil.rmtree(gone, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)
