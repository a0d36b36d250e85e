"""The environment that a commit runs in: built of exactly the wheels that the server names.

What builds it and what keeps wheels is handed in, so that this room knows neither.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from fedops.client.deployment.commits.places import Places
from fedops.core.contracts import Packages, WheelRef
from fedops.storage.atomic_files import sha256_of


class Wheels(Protocol):
    """Wheels by digest: ``environments.wheel_store.WheelStore``."""

    def path(self, ref: WheelRef) -> Path | None: ...

    def add(self, file: Path, ref: WheelRef) -> Path: ...

    def free(self, keep: set[str]) -> object: ...


class Builder(Protocol):
    """Makes environments: ``environments.building``."""

    def build_environment(
        self, target: Path, wheels: Sequence[Path], *, python: Path, cache: Path
    ) -> None:
        """``Unavailable``: the disk is full. ``Invalid``: the wheels do not fit."""
        ...

    def environment_python(self, target: Path) -> Path: ...

    def is_complete(self, target: Path) -> bool: ...

    def installed_packages(self, target: Path, names: Sequence[str]) -> dict[str, str]: ...


class Environments(Protocol):
    """What a device does with environments."""

    @property
    def platform(self) -> str:
        """What the server is told, so that it names the right wheels."""
        ...

    def packages(self, task: str, commit: str) -> Packages:
        """What the server names."""
        ...

    def missing(self, wheels: Sequence[WheelRef]) -> list[WheelRef]:
        """The wheels that are to be fetched."""
        ...

    def keep(self, file: Path, ref: WheelRef) -> None:
        """A wheel that was fetched."""
        ...

    def build(self, target: Path, wheels: Sequence[WheelRef]) -> None:
        """Make it, of wheels that are here.

        Raises:
            Unavailable: the disk is full.
            Invalid: the wheels do not fit.
        """
        ...

    def is_complete(self, target: Path) -> bool: ...

    def python(self, target: Path) -> Path:
        """Its interpreter."""
        ...

    def versions(self, target: Path, names: Sequence[str]) -> dict[str, str]:
        """Of those packages that it has."""
        ...

    def free(self, keep: set[str]) -> None:
        """Wheels of other digests may go."""
        ...


#: How environments are made for the places of a task. It is given what asks the server for its packages.
MakeEnvironments = Callable[[Places, Callable[[str, str, str], Packages]], Environments]


@dataclass(frozen=True)
class WheelEnvironments:
    """Environments of wheels."""

    platform: str
    ask: Callable[[str, str, str], Packages]
    wheels: Wheels
    builder: Builder
    cache: Path
    base: Path = Path(sys.executable)

    def packages(self, task: str, commit: str) -> Packages:
        return self.ask(task, commit, self.platform)

    def missing(self, wheels: Sequence[WheelRef]) -> list[WheelRef]:
        return [ref for ref in wheels if not self._is_whole(ref)]

    def _is_whole(self, ref: WheelRef) -> bool:
        path = self.wheels.path(ref)
        if path is not None and sha256_of(path) != ref.sha256:
            path.unlink()  # damaged on this disk: it comes again
            return False
        return path is not None

    def keep(self, file: Path, ref: WheelRef) -> None:
        self.wheels.add(file, ref)

    def build(self, target: Path, wheels: Sequence[WheelRef]) -> None:
        files = [path for ref in wheels if (path := self.wheels.path(ref)) is not None]
        self.builder.build_environment(target, files, python=self.base, cache=self.cache)

    def is_complete(self, target: Path) -> bool:
        return self.builder.is_complete(target)

    def python(self, target: Path) -> Path:
        return self.builder.environment_python(target)

    def versions(self, target: Path, names: Sequence[str]) -> dict[str, str]:
        return self.builder.installed_packages(target, names)

    def free(self, keep: set[str]) -> None:
        self.wheels.free(keep)


@dataclass(frozen=True)
class SharedEnvironment:
    """The environment that the Client Manager itself runs in, whatever a commit asks for."""

    platform: str = f"{sys.version_info[0]}.{sys.version_info[1]}/shared-any"

    def packages(self, task: str, commit: str) -> Packages:
        return Packages(status="ready")

    def missing(self, wheels: Sequence[WheelRef]) -> list[WheelRef]:
        return []

    def keep(self, file: Path, ref: WheelRef) -> None: ...

    def build(self, target: Path, wheels: Sequence[WheelRef]) -> None:
        target.mkdir(parents=True, exist_ok=True)

    def is_complete(self, target: Path) -> bool:
        return target.is_dir()

    def python(self, target: Path) -> Path:
        return Path(sys.executable)

    def versions(self, target: Path, names: Sequence[str]) -> dict[str, str]:
        found = {}
        for name in names:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        return found

    def free(self, keep: set[str]) -> None: ...


def shared_environment(
    places: Places, ask: Callable[[str, str, str], Packages]
) -> SharedEnvironment:
    """A ``MakeEnvironments`` for machines on which nothing can be built."""
    return SharedEnvironment()


def digest_of(packages: Packages) -> str:
    """Names the environment of a list of wheels: the same wheels, the same environment."""
    rows = sorted(f"{ref.name} {ref.sha256}" for ref in packages.wheels)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:24]
