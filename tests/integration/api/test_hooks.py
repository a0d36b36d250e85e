"""Git hosts tell of new commits: signed, heard once, for the source's branch, and nobody learns more."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import httpx
import pytest
from managing import World

from fedops.core import contracts as c
from fedops.core.errors import NotFound
from fedops.server.database.tables import HookRow, SourceRow
from fedops.server.delivery.sources import hooks

PUSH = {"ref": "refs/heads/main", "after": "1" * 40, "repository": {"default_branch": "main"}}


def _sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Host:
    """A Git host that knows a secret."""

    def __init__(self, world: World, task: str = "mnist") -> None:
        self.world = world
        self.url = f"{world.url}/api/v1/hooks/git/{task}"
        self.secret = ""

    def send(self, document: object, headers: dict[str, str] | None = None) -> httpx.Response:
        """A call with these headers; ``SIGNED`` in them is the body's signature."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        signed = _sign(self.secret, body)
        given = headers or {"x-hub-signature-256": "sha256=SIGNED"}
        sent = {
            name: text.replace("SIGNED", signed).replace("SECRET", self.secret)
            for name, text in given.items()
        }
        sent.setdefault("content-type", "application/json")
        return httpx.post(self.url, content=body, headers=sent, timeout=30.0)

    def due(self) -> bool:
        """Whether the source is to be looked at now."""
        database = self.world.manager.services.db
        with database.write() as session:
            row = session.get_one(SourceRow, "mnist")
            found, row.look_at = row.look_at, None
        return found is not None


@pytest.fixture
def host(world: World) -> Host:
    world.task("mnist")
    source = c.SourceSet(url="https://git.example.org/mnist.git", ref="main", poll_seconds=0.0)
    world.operator.set_source("mnist", source)
    made = Host(world)
    made.secret = world.operator.hook_secret("mnist").secret
    assert made.due()  # once, for it was set
    return made


HOSTS: dict[str, dict[str, str]] = {
    "github": {
        "x-hub-signature-256": "sha256=SIGNED",
        "x-github-event": "push",
        "x-github-delivery": "7",
    },
    "gitea": {"x-gitea-signature": "SIGNED", "x-gitea-event": "push"},
    "forgejo": {"x-forgejo-signature": "SIGNED"},
    "gitlab": {"x-gitlab-token": "SECRET", "x-gitlab-event": "Push Hook"},
}


def test_a_signed_push_has_the_source_looked_at_once(host: Host) -> None:
    for name, headers in HOSTS.items():
        push = {**PUSH, "after": name}
        answer = host.send(push, headers)
        assert (answer.status_code, answer.json()["accepted"]) == (200, True), name
        assert host.due()
        again = host.send(push, {**headers, "x-github-delivery": "8"})
        assert again.json() == {"accepted": False, "why": "heard already"}
        assert not host.due()
    host.world.clock.advance(hooks.REPLAY_SECONDS + 1)
    assert host.send({**PUSH, "after": "gitea"}).json()["accepted"]


WRONG: list[dict[str, str]] = [
    {"content-type": "application/json"},
    {"x-hub-signature-256": "sha256=" + "0" * 64},
    {"x-hub-signature-256": "SIGNED-"},
    {"x-gitlab-token": "SIGNED"},
    {"x-gitlab-token": ""},
    {"x-hub-signature-256": "sha256=wrong", "x-gitlab-token": "SECRET"},
    {"x-hub-signature": "sha1=SIGNED"},
]


def test_who_does_not_know_the_secret_learns_nothing(host: Host) -> None:
    elsewhere = Host(host.world, "nothing")
    elsewhere.secret = host.secret
    for headers in WRONG:
        there, nowhere = host.send(PUSH, headers), elsewhere.send(PUSH, headers)
        assert there.status_code == nowhere.status_code == 403, headers
        assert there.json() == nowhere.json()
    assert not host.due()


def test_the_secret_of_another_task_and_another_body_do_not_fit(host: Host) -> None:
    host.world.task("digits")
    other = Host(host.world, "digits")
    other.secret = host.secret
    assert other.send(PUSH).status_code == 403
    signed = _sign(host.secret, json.dumps(PUSH).encode())
    changed = {**PUSH, "ref": "refs/heads/other"}
    assert host.send(changed, {"x-hub-signature-256": f"sha256={signed}"}).status_code == 403


OTHERS: list[tuple[object, str]] = [
    ({"zen": "Keep it simple", "hook": {}}, "this is no push: nothing to do"),
    ([], "this is no push: nothing to do"),
    ({"ref": 7}, "this is no push: nothing to do"),
    ({**PUSH, "ref": "refs/heads/other"}, "the source is at 'main', not at what was pushed"),
    ({**PUSH, "ref": "refs/heads/xmain"}, "the source is at 'main', not at what was pushed"),
]


def test_what_concerns_another_branch_is_answered_and_not_followed(host: Host) -> None:
    for document, why in OTHERS:
        assert host.send(document).json() == {"accepted": False, "why": why}
    assert not host.due()


def test_without_a_ref_the_branch_that_the_host_names_counts(host: Host) -> None:
    source = c.SourceSet(url="https://git.example.org/mnist.git", poll_seconds=0.0)
    host.world.operator.set_source("mnist", source)
    assert host.send(PUSH).json()["accepted"]
    other = {"ref": "refs/heads/main", "project": {"default_branch": "trunk"}}
    assert not host.send(other).json()["accepted"]


def test_a_call_is_bounded_before_it_is_verified_and_parsed_only_after(host: Host) -> None:
    large = host.send(b"x" * (hooks.MOST_BYTES + 1), {"x-hub-signature-256": "none"})
    assert large.status_code == 413
    assert host.send(b"[" * 100, {"x-hub-signature-256": "none"}).status_code == 403
    deep = host.send(b"[" * 5_000 + b"]" * 5_000)
    assert (deep.status_code, "nested more than" in deep.json()["message"]) == (422, True)
    form = {
        "x-hub-signature-256": "sha256=SIGNED",
        "content-type": "application/x-www-form-urlencoded",
    }
    assert "application/json" in host.send(PUSH, form).json()["message"]


def test_the_secret_is_shown_to_who_may_see_it_and_lasts(host: Host) -> None:
    hook = host.world.operator.hook_secret("mnist")
    assert hook.url == host.world.manager.services.settings.url + "/api/v1/hooks/git/mnist"
    key = host.world.manager.services.settings.home / "hook-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert hooks.HookKey(key).secret("mnist") == hook.secret
    assert hooks.HookKey(key).secret("digits") != hook.secret
    host.world.task("digits")
    with pytest.raises(NotFound, match="task 'digits' has no source"):
        host.world.operator.hook_secret("digits")


def test_old_calls_are_forgotten(host: Host) -> None:
    host.send(PUSH)
    database = host.world.manager.services.db
    for later, left in ((hooks.KEPT_SECONDS - 1, 1), (hooks.KEPT_SECONDS + 1, 0)):
        with database.write() as session:
            hooks.forget_old(session, host.world.clock() + later)
        with database.read() as session:
            assert session.query(HookRow).count() == left


def test_a_key_that_was_cut_off_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "hook-key").write_bytes(b"short")
    with pytest.raises(Exception, match="is too short for a key: remove it"):
        hooks.HookKey(tmp_path / "hook-key").secret("mnist")
