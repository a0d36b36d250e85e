"""Commits are checked before they may be deployed: in a process of its own, from a clean checkout."""

from __future__ import annotations

import errno
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from delivery_steps import QuickChecks, check_quickly, deliver, draft, event_names
from git_repository import GitRepository
from managing import World, idle

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Unavailable
from fedops.core.states import CommitStatus, TaskStatus
from fedops.server.database.tables import CommitRow, PackagesRow, RemovalRow
from fedops.server.delivery.commits import commit_states, preparation
from fedops.server.delivery.commits.checking import Checked
from fedops.server.delivery.commits.commit_pack import KEPT
from fedops.server.delivery.packages import commit_packages

pytest.importorskip("sklearn", reason="the app here uses scikit-learn")


def test_the_first_sound_commit_makes_a_draft_ready(
    world: World, repository: GitRepository, tmp_path: Path
) -> None:
    commit = repository.commit_app("First", below="app", dependencies=("numpy>=2",))
    made = draft(world, repository, subfolder="app", overrides=["num_rounds=5"])
    assert (made.status, made.bundle, made.stalled) == (TaskStatus.DRAFT, "", False)
    with pytest.raises(Conflict, match="task 'points' is a draft: it has no app before"):
        world.operator.start_run("points", c.RunStart())
    _, device = world.join("pi")
    told = device.poll(idle("points"))
    assert told.problems == ["task 'points' is a draft: its first commit is being checked"]
    deliver(world)
    (found,) = world.operator.commits("points")
    assert (found.commit, found.status, found.reason) == (commit, CommitStatus.SOUND, "")
    assert (found.subject, found.author) == ("First", "Ada <ada@example.org>")
    assert len(found.fingerprint) == 16
    task = world.operator.task("points")
    assert (task.status, task.bundle, task.why) == (TaskStatus.READY, found.bundle, "")
    assert task.config["num_rounds"] == 5
    assert device.poll(idle("points")).problems == []
    assert world.operator.start_run("points", c.RunStart()).rounds == 5
    wanted = ["source.set", "commit.found", "commit.checking", "commit.sound", "task.ready"]
    assert [name for name in event_names(world) if name in wanted] == wanted
    _check_stored(world, found, repository, tmp_path)


def _check_stored(
    world: World, found: c.CommitRead, repository: GitRepository, tmp_path: Path
) -> None:
    """The bundle holds the app; the pack holds the commit with its files and nothing of its history."""
    store = world.manager.services.artifacts
    with zipfile.ZipFile(store.path(str(found.bundle))) as archive:
        assert "points/parts.py" in archive.namelist()
    with world.manager.services.db.read() as session:
        row = session.query(CommitRow).one()
    assert row.requirements == ["numpy>=2"]
    other = GitRepository(tmp_path / "device")
    other.git("unpack-objects", "-q", data=store.path(str(row.pack)).read_bytes())
    assert other.git("cat-file", "-t", found.commit) == "commit"
    files = subprocess.run(
        ["git", "-C", other.url, "archive", found.commit], check=True, capture_output=True
    ).stdout
    assert b"app/points/parts.py" in files


def test_what_a_commit_changes_is_told_and_the_task_keeps_its_app(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    repository.commit_app("First", dependencies=("numpy>=2", "pandas"))
    draft(world, repository)
    deliver(world)
    before = world.operator.task("points").bundle
    repository.write({"points/more.py": "x = 1\n"})
    second = repository.commit_app("Second", dependencies=("numpy>=2.1",), width=4)
    deliver(world)
    newest, first = world.operator.commits("points")
    assert (newest.commit, newest.status) == (second, CommitStatus.SOUND)
    assert newest.fingerprint != first.fingerprint
    assert newest.changes.since == first.commit
    assert newest.changes.files == [
        "M points/config.toml",
        "A points/more.py",
        "M points/parts.py",
        "M pyproject.toml",
    ]
    assert newest.changes.dependencies == ["- numpy>=2", "+ numpy>=2.1", "- pandas"]
    assert world.operator.task("points").bundle == before


def test_a_broken_commit_is_refused_with_the_reason(
    world: World, repository: GitRepository
) -> None:
    repository.commit_app("Broken")
    repository.commit("Broken", {"points/parts.py": "1 / 0\n"})
    draft(world, repository)
    deliver(world)
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.REFUSED
    assert "ZeroDivisionError: division by zero (points/parts.py, line 1)" in found.reason
    task = world.operator.task("points")
    assert (task.status, task.stalled) == (TaskStatus.DRAFT, True)
    assert found.reason in task.why


@pytest.mark.parametrize(
    ("pyproject", "words"),
    [
        ("[project]\nname = 'x'\n", "pyproject.toml has no [tool.fedops] table"),
        (
            "[tool.fedops]\npackage = 'points'\nconfig = 'points/config.toml'\npath = ['../..']",
            "path and workdir must not lead out of the repository",
        ),
        (
            "[tool.fedops]\npackage = 'points'\nconfig = 'points/config.toml'\nworkdir = '../../..'",
            "path and workdir must not lead out of the repository",
        ),
    ],
)
def test_what_is_no_app_within_the_repository_is_refused(
    world: World, repository: GitRepository, pyproject: str, words: str
) -> None:
    check_quickly(world)
    repository.commit_app("No app")
    repository.commit("No app", {"pyproject.toml": pyproject})
    draft(world, repository)
    deliver(world)
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.REFUSED
    assert words in found.reason
    assert str(world.folder.parent) not in found.reason


def test_a_refused_commit_is_checked_again_when_asked(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    repository.commit_app("First")
    draft(world, repository, overrides=["num_rounds=0"])
    deliver(world)
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.REFUSED
    world.operator.update_task("points", c.TaskUpdate(overrides=[]))
    assert world.operator.check_commit("points", found.commit[:8]).status is CommitStatus.FOUND
    deliver(world)
    assert world.operator.task("points").status is TaskStatus.READY
    with pytest.raises(Conflict, match="is sound: only one that was refused"):
        world.operator.check_commit("points", found.commit)


def test_only_the_newest_of_several_is_checked(world: World, repository: GitRepository) -> None:
    check_quickly(world)
    first = repository.commit_app("First")
    draft(world, repository)
    world.manager.delivery.look_at_sources()
    second = repository.commit("Second", {"points/__init__.py": "x = 1\n"})
    deliver(world)
    newest, older = world.operator.commits("points")
    assert (newest.commit, newest.status) == (second, CommitStatus.SOUND)
    assert (older.commit, older.status) == (first, CommitStatus.SKIPPED)
    repository.git("reset", "--quiet", "--hard", first)
    deliver(world)
    assert {one.status for one in world.operator.commits("points")} == {CommitStatus.SOUND}
    assert "source.rewritten" in event_names(world)


def test_a_server_that_ends_while_it_checks_begins_again_three_times(
    world: World, repository: GitRepository
) -> None:
    repository.commit_app("First")
    draft(world, repository)
    world.manager.delivery.look_at_sources()
    database, now = world.manager.services.db, world.clock()
    for number in range(1, 4):
        with database.write() as session:
            work = commit_states.next_to_check(session, now)
            assert work is not None
            assert work.checks == number
        with database.write() as session:
            commit_states.begin_anew(session, now)
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.REFUSED
    assert "the server ended 3 times while it was checked" in found.reason


def test_a_check_whose_end_could_not_be_kept_is_begun_again(
    world: World, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_quickly(world)
    repository.commit_app("First")
    draft(world, repository)
    world.manager.delivery.look_at_sources()
    commits = world.manager.delivery.commits
    with monkeypatch.context() as patched:

        def no_turn(*_: object) -> None:
            raise Unavailable("the database is busy")

        patched.setattr(preparation, "record_sound", no_turn)
        patched.setattr(commits, "_end", no_turn)
        with pytest.raises(Unavailable):
            world.manager.delivery.check_commits()
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.CHECKING
    deliver(world)
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.SOUND


@pytest.mark.parametrize("removed", [True, False])
def test_a_commit_of_a_source_that_was_given_up_does_not_become_the_tasks(
    world: World, repository: GitRepository, tmp_path: Path, removed: bool
) -> None:
    repository.commit_app("First")
    draft(world, repository)
    other = GitRepository(tmp_path / "other")
    other.commit_app("Another")

    class Meanwhile(QuickChecks):
        def check(self, bundle: Path, config: Mapping[str, Any]) -> Checked:
            if removed:
                world.operator.remove_source("points")
            else:
                world.operator.set_source("points", c.SourceSet(url=other.url))
            return super().check(bundle, config)

    world.manager.delivery.commits.checks = Meanwhile()
    deliver(world)
    (found,) = world.operator.commits("points")
    assert (found.status, found.reason) == (
        CommitStatus.SKIPPED,
        "the task has another source now, or none",
    )
    assert world.operator.task("points").status is TaskStatus.DRAFT


def test_what_waits_is_passed_over_when_the_source_is_another(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    repository.commit_app("First")
    draft(world, repository)
    world.manager.delivery.look_at_sources()
    world.operator.set_source("points", c.SourceSet(url="http://127.0.0.1:1/x.git"))
    (found,) = world.operator.commits("points")
    assert (found.status, found.reason) == (CommitStatus.SKIPPED, "the source is another one now")


def test_only_the_newest_packs_are_kept(world: World, repository: GitRepository) -> None:
    check_quickly(world)
    draft(world, repository)
    for number in range(KEPT + 2):
        repository.commit_app(f"Number {number}", version=f"1.0.{number}")
        deliver(world)
    with world.manager.services.db.read() as session:
        packs = [row.pack is not None for row in session.query(CommitRow).order_by(CommitRow.id)]
        given_up = session.query(RemovalRow).count()
    assert packs == [True, False, *[True] * KEPT], "runs use the first"
    assert given_up == 1


def test_a_plain_folder_is_followed_by_the_digest_of_its_files(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    repository.commit_app("First")
    draft(world, repository, url=f"folder:{repository.folder}")
    deliver(world)
    (found,) = world.operator.commits("points")
    assert (len(found.commit), found.status) == (64, CommitStatus.SOUND)
    repository.write({"points/data.bin": b"no code", ".hidden/x.py": "x"})
    deliver(world)
    assert len(world.operator.commits("points")) == 1
    repository.write({"points/parts.py": "def ("})
    deliver(world)
    assert world.operator.commits("points")[0].status is CommitStatus.REFUSED
    assert world.operator.task("points").bundle == found.bundle


def test_packages_of_commits_that_nobody_needs_are_forgotten(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    draft(world, repository)
    database, names = world.manager.services.db, []
    for number in range(commit_packages.KEPT + 3):
        names.append(repository.commit_app(f"Number {number}", version=f"1.0.{number}"))
        with database.write() as session:
            row = PackagesRow(task="points", commit=names[-1], platform="3.11/x", packages={}, at=0)
            session.add(row)
        deliver(world)
    with database.read() as session:
        left = {row.commit for row in session.query(PackagesRow)}
    assert left == {names[0], *names[3:]}, "runs use the first; the newest may be asked for"


def test_a_full_disk_is_named_and_the_commit_may_be_checked_again(
    world: World, repository: GitRepository
) -> None:
    commit = repository.commit_app("First")
    draft(world, repository)
    world.manager.delivery.commits.checks = FullDisk()
    deliver(world)
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.FOUND
    assert "disk is full" in found.reason
    for _ in range(2):
        deliver(world)
    (found,) = world.operator.commits("points")
    assert found.status is CommitStatus.REFUSED
    again = f"'fedops task commits points --check {commit[:12]}'"
    assert found.reason.endswith(f"it was tried 3 times; {again} has it tried again")


class FullDisk(QuickChecks):
    def pack(self, app_dir: Path, bundle: Path) -> list[str]:
        raise OSError(errno.ENOSPC, "No space left on device", str(bundle))
