"""What tests do with the delivery of a Server Manager whose workers do not run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from git_repository import GitRepository
from managing import World

from fedops.core import contracts as c
from fedops.environments.project_requirements import read_requirements
from fedops.server.delivery.commits.checking import Checked


class QuickChecks:
    """``AppChecks`` that start no process: files are zipped, and code is sound that can be parsed."""

    def pack(self, app_dir: Path, bundle: Path) -> list[str]:
        with zipfile.ZipFile(bundle, "w") as archive:
            for file in sorted(app_dir.rglob("*.*")):
                if file.suffix in (".py", ".toml"):
                    entry = zipfile.ZipInfo(file.relative_to(app_dir).as_posix())
                    archive.writestr(entry, file.read_bytes())
        return read_requirements(app_dir)

    def check(self, bundle: Path, config: Mapping[str, Any]) -> Checked:
        with zipfile.ZipFile(bundle) as archive:
            for name in archive.namelist():
                if name.endswith(".py"):
                    try:
                        compile(archive.read(name), name, "exec")
                    except SyntaxError as error:
                        return Checked(f"SyntaxError: {error}")
            return Checked(fingerprint=sha256(archive.read("points/parts.py")).hexdigest()[:16])


def check_quickly(world: World) -> None:
    """From now on this server starts no process to check commits."""
    world.manager.delivery.commits.checks = QuickChecks()


def draft(
    world: World,
    repository: GitRepository,
    *,
    name: str = "points",
    overrides: list[str] | None = None,
    **source: object,
) -> c.TaskRead:
    """A task whose app comes from a repository."""
    given = c.SourceSet.model_validate({"url": repository.url, **source})
    return world.operator.create_task(
        c.TaskCreate(name=name, source=given, overrides=overrides or [])
    )


def deliver(world: World) -> None:
    """A minute later: look at what is due, and check what was found."""
    world.clock.advance(61.0)
    world.manager.delivery.look_at_sources()
    world.manager.delivery.check_commits()


def event_names(world: World, task: str = "points") -> list[str]:
    """What happened to a task, oldest first."""
    return [event.name for event in world.operator.events() if event.subject == f"task {task}"]


def event_texts(world: World, name: str, task: str = "points") -> list[str]:
    """What was said of one kind of event."""
    return [
        event.text
        for event in world.operator.events()
        if event.subject == f"task {task}" and event.name == name
    ]
