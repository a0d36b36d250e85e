"""Commits of a task's source as rows, without a repository: as the check of a real one leaves them."""

from __future__ import annotations

from managing import World, bundle

from fedops.core import contracts as c
from fedops.core.states import CommitStatus
from fedops.server.database.tables import CommitRow, SourceRow


def commit_of(letter: str) -> str:
    """A name as Git gives one."""
    return letter * 40


def app_of(letter: str, **config: object) -> bytes:
    """An app bundle that is no other commit's."""
    lines = "".join(f"{key} = {value}\n" for key, value in config.items())
    text = f"random_seed = 7\nnum_rounds = 3\n{lines}# {letter}\n"
    return bundle(**{"toy/conf/config.toml": text})


def source(world: World, task: str = "mnist", **policy: object) -> None:
    """A source of the task, with this policy."""
    with world.manager.services.db.write() as session:
        row = session.get(SourceRow, task) or SourceRow(
            task=task,
            url="/srv/git/app",
            ref="main",
            subfolder="",
            poll_seconds=60.0,
            problem="",
            changed_at=world.clock(),
        )
        row.policy = c.RolloutPolicy.model_validate(policy).model_dump(mode="json")
        session.add(row)


def sound_commit(
    world: World,
    letter: str,
    app: str | None = None,
    *,
    task: str = "mnist",
    status: CommitStatus = CommitStatus.SOUND,
    reason: str = "",
    fingerprint: str = "",
) -> str:
    """A commit that was found sound, with ``app`` (the sha256 of a bundle) or one of its own."""
    digest = app or world.upload(app_of(letter)).sha256
    commit = commit_of(letter)
    with world.manager.services.db.write() as session:
        session.add(
            CommitRow(
                task=task,
                commit=commit,
                status=status,
                status_since=world.clock(),
                reason=reason,
                subject=f"commit {letter}",
                author="ada",
                authored_at=world.clock(),
                seen_at=world.clock(),
                subfolder="",
                bundle=digest,
                fingerprint=fingerprint,
                requirements=[],
                changes={"since": None, "files": ["M toy/model.py"], "dependencies": []},
            )
        )
        found = session.get(SourceRow, task)
        if found is not None:
            found.commit = commit
    return commit
