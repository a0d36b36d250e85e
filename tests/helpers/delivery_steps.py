"""What tests do with the delivery of a Server Manager whose workers do not run."""

from __future__ import annotations

from git_repository import GitRepository
from managing import World

from fedops.core import contracts as c


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
    """Look at what is due, and check what was found."""
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
