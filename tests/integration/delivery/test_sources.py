"""Sources are read whatever is in them, and whatever cannot be read is said in one sentence."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from delivery_steps import check_quickly, deliver, draft, event_names, event_texts
from git_repository import GitRepository
from managing import World

from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, NotFound, Unavailable
from fedops.core.states import CommitStatus, TaskStatus
from fedops.server.delivery.repositories.checkout import Checkout
from fedops.server.delivery.repositories.git_command import GitAccess
from fedops.server.delivery.repositories.git_mirror import GitMirror

SECRET = "pa55word"


@pytest.fixture
def mirror(tmp_path: Path) -> GitMirror:
    return GitMirror.of_task(GitAccess(tmp_path / "git", seconds=30.0), "points")


# --- refs ------------------------------------------------------------------------------------


def test_a_ref_is_a_branch_a_tag_a_commit_or_what_the_repository_names(
    mirror: GitMirror, repository: GitRepository
) -> None:
    first = repository.commit("First", {"a.py": "1"})
    repository.git("tag", "--annotate", "--message", "x", "v1")
    repository.git("checkout", "--quiet", "-b", "other/one")
    second = repository.commit("Second", {"a.py": "2"})
    repository.git("checkout", "--quiet", "main")
    wanted = {"": first, "main": first, "v1": first, first: first, "refs/heads/main": first}
    for ref, commit in {**wanted, "other/one": second, second: second}.items():
        found = mirror.look(repository.url, ref, None)
        assert (ref, found.commit) == (ref, commit)
    assert (found.subject, found.author) == ("Second", "Ada <ada@example.org>")
    assert not mirror.look(repository.url, "other/one", first).rewritten
    assert mirror.look(f"file://{repository.url}", "main", second).commit == first


def test_a_repository_with_long_names_is_read_and_may_take_the_place_of_another(
    mirror: GitMirror, repository: GitRepository, tmp_path: Path
) -> None:
    repository.commit("First", {"a.py": "1"})
    mirror.look(repository.url, "", None)
    shutil.rmtree(repository.folder)
    again = GitRepository(repository.folder, names="sha256")
    first = again.commit("First", {"a.py": "1"})
    second = again.commit("Second", {"a.py": "2"})
    assert len(second) == 64
    assert mirror.look(again.url, "", None).commit == second
    mirror.fetch_commit(again.url, first)
    assert Checkout(tmp_path / "files").add(mirror, second, "").joinpath("a.py").read_text() == "2"


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("mian", "has no branch or tag 'mian'; did you mean 'main'?"),
        ("zzz", "has no branch or tag 'zzz'; it has: 'main'"),
        ("0" * 40, "has no commit 0000"),
        ("main^{tree}", "has no branch or tag"),
    ],
)
def test_an_unknown_ref_names_those_there_are(
    mirror: GitMirror, repository: GitRepository, ref: str, words: str
) -> None:
    repository.commit("First", {"a.py": "1"})
    with pytest.raises(NotFound) as caught:
        mirror.look(repository.url, ref, None)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("/there/is/none", NotFound, "is no Git repository that the server can see"),
        ("file:///there/is/none", NotFound, "is no Git repository that the server can see"),
        ("http://127.0.0.1:1/x.git", Unavailable, "cannot be reached from the server's machine"),
        ("ext::sh -c true", FedOpsError, ""),
    ],
)
def test_what_cannot_be_read_says_why(
    mirror: GitMirror, url: str, kind: type[FedOpsError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        mirror.look(url, "", None)
    assert words in caught.value.message


def test_git_may_be_missing_and_a_key_may_be_open_to_others(
    tmp_path: Path, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("First", {"a.py": "1"})
    key = tmp_path / "credentials"
    key.write_text(f"https://ada:{SECRET}@example.org\n")
    key.chmod(0o644)
    held = GitMirror.of_task(GitAccess(tmp_path / "git", credentials=key), "points")
    with pytest.raises(Forbidden, match=r"others can read .*; make it yours alone: chmod 600"):
        held.look(repository.url, "", None)
    key.chmod(0o600)
    assert held.look(repository.url, "", None).subject == "First"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="Git is not installed on the server's machine"):
        held.look(repository.url, "", None)


def test_a_repository_that_is_too_large_or_too_slow_is_given_up(
    tmp_path: Path, repository: GitRepository
) -> None:
    repository.commit("First", {"data.bin": os.urandom(8 << 20)})
    small = GitMirror.of_task(GitAccess(tmp_path / "git", most_bytes=1 << 20), "points")
    with pytest.raises(Invalid, match="the repository is larger than 1 MiB"):
        small.look(repository.url, "", None)
    assert not small.folder.exists()
    begun = time.monotonic()
    slow = GitMirror.of_task(GitAccess(tmp_path / "git", seconds=0.0), "points")
    with pytest.raises(Unavailable, match="did not answer within 0 s"):
        slow.look(repository.url, "", None)
    assert time.monotonic() - begun < 10


# --- what is checked out ---------------------------------------------------------------------


def _checked_out(mirror: GitMirror, repository: GitRepository, folder: str = "") -> Checkout:
    commit = mirror.look(repository.url, "", None).commit
    root = mirror.access.home.parent / "out"
    root.mkdir()
    made = Checkout(root)
    made.add(mirror, commit, folder)
    return made


def test_one_folder_is_checked_out_and_another_beside_it(
    mirror: GitMirror, repository: GitRepository
) -> None:
    repository.write({"app/a.py": "1", "app/run.sh": "echo", "beside/b.py": "2", "else/c.py": "3"})
    (repository.folder / "app" / "run.sh").chmod(0o755)
    (repository.folder / "app" / "link.py").symlink_to("a.py")
    commit = repository.commit(
        "First", {"app/weights.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"}
    )
    made = _checked_out(mirror, repository, "app")
    made.add(mirror, commit, "beside")
    made.add(mirror, commit, "app")  # again, which changes nothing
    there = {str(file.relative_to(made.root)) for file in made.root.rglob("*") if file.is_file()}
    assert there == {"app/a.py", "app/run.sh", "app/link.py", "app/weights.bin", "beside/b.py"}
    assert (made.root / "app" / "run.sh").stat().st_mode & 0o777 == 0o700
    assert sorted(made.notes) == [
        "'app/link.py' is a symbolic link, which does not travel in a bundle",
        "'app/weights.bin' is a pointer of Git LFS: what it points to is not fetched",
    ]
    with pytest.raises(NotFound, match="has no folder 'ap'; did you mean 'app'"):
        made.add(mirror, commit, "ap")


def _link(repository: GitRepository, *links: tuple[str, str]) -> None:
    for path, target in links:
        repository.git(
            "update-index",
            "--add",
            "--cacheinfo",
            f"120000,{repository.blob(target.encode())},{path}",
        )
    repository.git("commit", "--quiet", "--message", "links")


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ([("l", "/etc/passwd")], "'l' is a symbolic link to '/etc/passwd', which leads out"),
        ([("l", "../x")], "'l' is a symbolic link to '../x', which leads out"),
        ([("d/l", "../../x")], "'d/l' is a symbolic link to '../../x', which leads out"),
        ([("a/b/up", ".."), ("l", "a/b/up/../../..")], "by way of others"),
        ([("a", "b"), ("b", "a")], "by way of others"),
    ],
)
def test_links_that_lead_out_are_refused(
    mirror: GitMirror, repository: GitRepository, links: list[tuple[str, str]], words: str
) -> None:
    repository.commit("First", {"a.txt": "1"})
    _link(repository, *links)
    with pytest.raises(Invalid) as caught:
        _checked_out(mirror, repository)
    assert words in caught.value.message


def test_names_that_no_file_may_have_are_refused(
    mirror: GitMirror, repository: GitRepository, tmp_path: Path
) -> None:
    repository.commit("First", {"a.py": "1"})
    blob = repository.blob(b"evil")
    inner = repository.git("mktree", data=f"100644 blob {blob}\tx\n".encode())
    trees = {
        "leads out of it": [("40000", "..", inner)],
        "a repository within the repository": [("40000", ".GIT", inner)],
        "one file on machines": [("100644", "A.py", blob), ("100644", "a.py", blob)],
        "is none everywhere": [("100644", "a\\b", blob)],
        "or is none": [("100644", "a" * 256, blob)],
        "one file on machines that": [("120000", "d", blob), ("40000", "d", inner)],
        "the submodule 'vendor', and submodules are not fetched": [("160000", "vendor", "1" * 40)],
    }
    for words, entries in trees.items():
        commit = repository.commit_raw_tree(*entries)
        mirror.fetch_commit(repository.url, commit)
        root = tmp_path / commit
        root.mkdir()
        with pytest.raises(Invalid) as caught:
            Checkout(root).add(mirror, commit, "")
        assert words in caught.value.message
        assert not list(root.iterdir())
    assert not (tmp_path / "x").exists()


def test_too_many_files_are_refused(mirror: GitMirror, repository: GitRepository) -> None:
    blob = repository.blob(b"")
    repository.commit_tree(*(f"100644 blob {blob}\t{number}.py" for number in range(10_001)))
    with pytest.raises(
        Invalid, match=r"10,001 files .* 10,000 files and 512 MiB are taken at most"
    ):
        _checked_out(mirror, repository)


# --- over the API ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"https://ada:{SECRET}@example.org/x.git",
        f"https://{SECRET}@example.org/x.git",
        f"ssh://ada:{SECRET}@example.org/x.git",
        f"https://example.org/x.git?private_token={SECRET}",
        f"ada:{SECRET}@example.org:x.git",
        f"git:{SECRET}@example.org/ada/x.git",
    ],
)
def test_credentials_in_a_url_are_refused_and_never_said(world: World, url: str) -> None:
    with pytest.raises(Invalid, match="holds a user name or password") as caught:
        world.operator.create_task(c.TaskCreate(name="points", source=c.SourceSet(url=url)))
    assert SECRET not in caught.value.message
    assert "FEDOPS_SERVER_GIT_CREDENTIALS" in caught.value.message
    assert world.operator.tasks() == []


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("relative/path", Invalid, "is no source"),
        ("folder:relative", Invalid, "is no absolute path"),
        ("ext::sh -c id", Invalid, "is no source"),
        ("fd://17", Invalid, "sources with 'fd://' are not read"),
        ("HOME/git", Forbidden, "the server's own folder is no source"),
    ],
)
def test_what_is_no_source_is_refused(
    world: World, url: str, kind: type[FedOpsError], words: str
) -> None:
    home = str(world.manager.services.settings.home)
    world.task("mnist")
    with pytest.raises(kind, match=words):
        world.operator.set_source("mnist", c.SourceSet(url=url.replace("HOME", home)))


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ({"allow": [{"cron": "0 25 * * *", "minutes": 60}]}, "'0 25 * * *' is no cron expression"),
        ({"deny": [{"cron": "0 22 * *", "minutes": 60}]}, "it has five fields"),
        ({"zone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'"),
    ],
)
def test_windows_that_nobody_understands_are_refused_at_once(
    world: World, repository: GitRepository, windows: dict[str, object], words: str
) -> None:
    repository.commit_app("First")
    draft(world, repository)
    body = c.SourceSet.model_validate({"url": repository.url, "policy": {"windows": windows}})
    with pytest.raises(Invalid) as caught:
        world.operator.set_source("points", body)
    assert words in caught.value.message
    assert world.operator.look_at_source("points").policy == c.RolloutPolicy()


def test_a_policy_that_is_not_named_stays_as_it_is(world: World, repository: GitRepository) -> None:
    repository.commit_app("First")
    careful = c.RolloutPolicy(canary="10%", approval="each")
    draft(world, repository, policy=careful)
    found = world.operator.set_source("points", c.SourceSet(url=repository.url, poll_seconds=5.0))
    assert (found.poll_seconds, found.policy) == (5.0, careful)
    usual = c.SourceSet(url=repository.url, policy=c.RolloutPolicy())
    assert world.operator.set_source("points", usual).policy == c.RolloutPolicy()


def test_a_problem_is_said_once_tried_again_later_and_forgotten(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    draft(world, repository)
    deliver(world)
    task = world.operator.task("points")
    assert task.stalled
    assert "has no commit yet: push one to it" in task.why
    looked_at = world.operator.look_at_source("points").looked_at
    deliver(world)
    assert len(event_texts(world, "source.problem")) == 1
    world.manager.delivery.look_at_sources()  # too early
    assert world.operator.look_at_source("points").looked_at != looked_at
    repository.commit_app("First")
    deliver(world)
    assert "source.readable" in event_names(world)
    assert world.operator.task("points").status is TaskStatus.READY


def test_a_history_that_was_replaced_is_said_and_followed(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    first = repository.commit_app("First")
    draft(world, repository)
    deliver(world)
    second = repository.begin_anew("Another beginning", {"points/__init__.py": "x = 2\n"})
    deliver(world)
    (said,) = event_texts(world, "source.rewritten")
    assert first[:12] in said
    assert second[:12] in said
    newest = world.operator.commits("points")[0]
    assert (newest.commit, newest.status) == (second, CommitStatus.SOUND)


def test_a_source_that_cannot_be_read_stops_no_other(
    world: World, repository: GitRepository
) -> None:
    check_quickly(world)
    repository.commit_app("First")
    draft(world, repository, name="away", url="http://127.0.0.1:1/x.git")
    draft(world, repository)
    deliver(world)
    assert world.operator.task("points").status is TaskStatus.READY
    assert "cannot be reached" in world.operator.task("away").why


def test_a_source_may_be_set_anew_and_removed(world: World, repository: GitRepository) -> None:
    check_quickly(world)
    repository.commit_app("First", below="one")
    repository.commit_app("First", below="two")
    draft(world, repository, subfolder="three")
    deliver(world)
    (refused,) = world.operator.commits("points")
    assert "has no folder 'three'; it has: one, two" in refused.reason
    body = c.SourceSet(url=repository.url, subfolder="one", poll_seconds=0.0)
    assert world.operator.set_source("points", body).commit is None
    deliver(world)
    assert world.operator.task("points").status is TaskStatus.READY
    repository.commit("Second", {"one/points/__init__.py": "y = 1\n"})
    deliver(world)  # nobody asked for a look
    assert len(world.operator.commits("points")) == 1
    world.operator.look_at_source("points")
    deliver(world)
    assert len(world.operator.commits("points")) == 2
    world.operator.remove_source("points")
    with pytest.raises(NotFound, match="has no source: give it one with"):
        world.operator.look_at_source("points")
    assert len(world.operator.commits("points")) == 2


def test_a_draft_is_put_away_changed_and_given_an_app(
    world: World, repository: GitRepository, tmp_path: Path
) -> None:
    check_quickly(world)
    draft(world, repository)
    assert world.operator.archive_task("points").status is TaskStatus.ARCHIVED
    deliver(world)
    assert event_texts(world, "source.problem") == []
    with pytest.raises(Conflict, match="is archived"):
        world.operator.look_at_source("points")
    assert world.operator.unarchive_task("points").status is TaskStatus.DRAFT
    changed = c.TaskUpdate(description="words", overrides=["num_rounds=7"])
    assert world.operator.update_task("points", changed).status is TaskStatus.DRAFT
    with pytest.raises(Conflict, match="is a draft"):
        world.operator.start_benches("points", c.BenchRequest())
    _, device = world.join("pi")
    assert device.configs() == []
    made = world.task("mnist")
    ready = world.operator.update_task("points", c.TaskUpdate(bundle=made.bundle))
    assert (ready.status, ready.config["num_rounds"]) == (TaskStatus.READY, 7)
