"""The environment of a commit: its wheels are fetched, it is built once, shared by all that have these."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedops.client.deployment.commits.deployment_state import CommitNote
from fedops.client.deployment.commits.downloads import Downloads, NoRoom, Tell, require_room
from fedops.client.deployment.commits.environments import Environments, digest_of
from fedops.client.deployment.commits.places import CommitPlace, Places, remove_folder
from fedops.client.work.reachability import Reachability
from fedops.core.contracts import DesiredDeployment, Packages, WheelRef
from fedops.core.errors import Invalid, Unavailable
from fedops.core.reasons.stages import size_text

#: How much an environment takes, as a multiple of its wheels: they unpack to more, and building caches it.
_UNPACKED_TIMES = 4
_MOST_WHEELS = 2_000


class NotYet(Exception):
    """The server still prepares it. The text says why."""


@dataclass(frozen=True)
class Preparation:
    """Prepares commits, one at a time."""

    places: Places
    environments: Environments
    downloads: Downloads
    reach: Reachability

    def is_prepared(self, commit: str) -> bool:
        return self.python(commit) is not None

    def python(self, commit: str) -> Path | None:
        """The interpreter of a commit's environment; None: it has none."""
        note = CommitNote.read(self.places.commit(commit))
        if note is None or not note.environment:
            return None
        target = self._target(note.environment)
        return self.environments.python(target) if self.environments.is_complete(target) else None

    def versions(self, commit: str) -> dict[str, str]:
        """Of the packages that the app names itself."""
        note = CommitNote.read(self.places.commit(commit))
        if note is None or not note.environment:
            return {}
        return self.environments.versions(self._target(note.environment), note.named)

    def prepare(self, wish: DesiredDeployment, over: Callable[[], bool], tell: Tell) -> None:
        """Have its environment.

        Raises:
            Over: it is not wanted any more.
            NotYet: the server does not know its packages yet.
            Invalid: it cannot be had for this device, with the reason.
            NoRoom: the disk is full.
        """
        packages = self._packages(wish, over, tell)
        name = digest_of(packages)
        target = self._target(name)
        if not self.environments.is_complete(target):
            self._fetch(packages.wheels, over, tell)
            tell(f"building the environment of {len(packages.wheels)} packages")
            self._build(target, packages.wheels)
        self._note(wish, name, packages)

    def _packages(self, wish: DesiredDeployment, over: Callable[[], bool], tell: Tell) -> Packages:
        packages = self.reach.insist(
            lambda: self.environments.packages(wish.task, wish.commit),
            over,
            lambda error: tell(error.message),
        )
        if packages.status == "preparing":
            raise NotYet(packages.reason or "the server prepares the packages for this platform")
        if packages.status == "refused":
            raise Invalid(packages.reason or "the server has no packages for this platform")
        if len(packages.wheels) > _MOST_WHEELS:
            raise Invalid(f"the server names {len(packages.wheels)} packages, more than we take")
        return packages

    def _fetch(self, wheels: Sequence[WheelRef], over: Callable[[], bool], tell: Tell) -> None:
        missing = self.environments.missing(wheels)
        total = sum(ref.size for ref in wheels)
        needed = sum(ref.size for ref in missing) + _UNPACKED_TIMES * total
        require_room(self.places.root, needed)
        for number, ref in enumerate(missing, 1):
            head = f"package {number} of {len(missing)}, {ref.name[:80]}: "
            file = self.places.coming / ref.sha256
            self.downloads.fetch(ref, file, over, _after(head, tell))
            self.environments.keep(file, ref)
            file.unlink(missing_ok=True)

    def _build(self, target: Path, wheels: Sequence[WheelRef]) -> None:
        try:
            self.environments.build(target, wheels)
        except Unavailable as error:
            needed = _UNPACKED_TIMES * sum(ref.size for ref in wheels)
            text = f"{error.message}; about {size_text(needed)} are needed for its environment"
            raise NoRoom(text) from None
        self.places.show(target)

    def _note(self, wish: DesiredDeployment, name: str, packages: Packages) -> None:
        place = self.places.commit(wish.commit)
        note = CommitNote.read(place) or CommitNote.of(wish)
        changed = {
            "environment": name,
            "wheels": [ref.sha256 for ref in packages.wheels],
            "named": packages.named,
        }
        note.model_copy(update=changed).write(place)
        _link(place, self._target(name))

    def _target(self, name: str) -> Path:
        return self.places.environments / name


def _link(place: CommitPlace, target: Path) -> None:
    """For people who look: FedOps itself goes by the note. Windows lets few users make links."""
    with contextlib.suppress(OSError):
        remove_folder(place.env)
        place.env.symlink_to(target, target_is_directory=True)


def _after(head: str, tell: Tell) -> Tell:
    """Tells what is said, behind ``head``."""
    return lambda text: tell(head + text)
