"""Users, their passwords and tokens, and what is on record of them: over HTTP, on a real database."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from managing import World, managing
from people import user_token

from fedops.api_client import OperatorClient
from fedops.api_client.operator_users import SignInClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, NotFound
from fedops.core.states import Role
from fedops.server.access import sign_in_limits

PASSWORD = "correct horse battery"


def _sign_in(world: World, user: str, password: str) -> OperatorClient:
    with SignInClient(world.url) as client:
        made = client.sign_in(c.SignIn(user=user, password=password))
    return world.with_token(made.token)


def _anna(world: World, role: Role = Role.OPERATOR, tasks: list[str] | None = None) -> c.UserRead:
    body = c.UserCreate(name="anna", role=role, tasks=tasks, password=PASSWORD)
    return world.operator.add_user(body)


def test_the_admin_token_is_the_first_admins_own(world: World) -> None:
    me = world.operator.whoami()
    assert (me.user, me.roles, me.tasks) == ("admin", [Role.ADMIN], None)
    (token,) = world.operator.user_tokens()
    assert (token.id, token.kind, token.expires_at) == (me.token_id, "personal", None)


def test_a_password_gets_a_token_which_ends_with_it(world: World) -> None:
    assert _anna(world).has_password
    anna = _sign_in(world, "anna", PASSWORD)
    assert anna.whoami().user == "anna"
    second = anna.create_user_token(c.PersonalTokenCreate(note="made with it"))
    given = world.operator.create_user_token(c.PersonalTokenCreate(), "anna")
    anna.change_password(c.PasswordChange(current=PASSWORD, password="another sentence"))
    for token in (None, second.token):
        with pytest.raises(Forbidden, match="was revoked"):
            (world.with_token(token) if token else anna).whoami()
    assert world.with_token(given.token).whoami().user == "anna"
    with pytest.raises(Forbidden, match="not right"):
        _sign_in(world, "anna", PASSWORD)
    assert _sign_in(world, "anna", "another sentence").whoami().user == "anna"


def test_what_is_refused_is_the_same_for_everybody(world: World) -> None:
    _anna(world)
    world.operator.add_user(c.UserCreate(name="bob", role=Role.VIEWER))
    world.operator.add_user(c.UserCreate(name="eve", role=Role.VIEWER, password=PASSWORD))
    world.operator.update_user("eve", c.UserUpdate(disabled=True))
    said = set()
    for name in ("anna", "bob", "eve", "nobody-at-all"):
        with pytest.raises(Forbidden) as refused:
            _sign_in(world, name, PASSWORD if name == "eve" else "a wrong password")
        said.add(refused.value.message)
    assert len(said) == 1


def test_a_known_name_takes_as_long_as_an_unknown_one(world: World) -> None:
    _anna(world)
    taken: dict[str, list[float]] = {"anna": [], "unknown": []}
    for _ in range(5):
        for name, times in taken.items():
            began = time.perf_counter()
            with pytest.raises(Forbidden):
                _sign_in(world, name, "a wrong password")
            times.append(time.perf_counter() - began)
    began = time.perf_counter()
    PasswordHasher().hash("how long one takes")
    one = time.perf_counter() - began
    difference = statistics.median(taken["anna"]) - statistics.median(taken["unknown"])
    assert abs(difference) < one / 2, taken


@pytest.mark.parametrize("name", ["anna", "unknown"])
def test_whoever_fails_too_often_waits(world: World, name: str) -> None:
    _anna(world)
    for _ in range(sign_in_limits.PER_NAME_THERE):
        with pytest.raises(Forbidden, match="not right"):
            _sign_in(world, name, "a wrong password")
    with pytest.raises(FedOpsError, match="try again in 5 minutes"):
        _sign_in(world, name, PASSWORD)
    world.clock.advance(sign_in_limits.WINDOW_SECONDS)
    if name == "anna":
        assert _sign_in(world, name, PASSWORD).whoami().user == "anna"


def test_whoever_is_right_may_come_as_often_as_they_like(world: World) -> None:
    _anna(world)
    for _ in range(sign_in_limits.PER_NAME_THERE + 2):
        assert _sign_in(world, "anna", PASSWORD).whoami().user == "anna"


def test_failed_sign_ins_are_on_record_without_what_was_typed(world: World) -> None:
    _anna(world)
    for name in ("anna", "hunter2"):  # the second may be a password
        with pytest.raises(Forbidden):
            _sign_in(world, name, "a wrong password")
    _sign_in(world, "anna", PASSWORD)
    found = [e for e in world.operator.events() if e.name.startswith("user.sign")]
    assert [(e.who, e.subject, e.name, e.by_address) for e in found] == [
        ("somebody", "user anna", "user.sign_in_failed", "127.0.0.1"),
        ("somebody", "user unknown", "user.sign_in_failed", "127.0.0.1"),
        ("user anna", "user anna", "user.signed_in", "127.0.0.1"),
    ]
    assert "hunter2" not in str(world.operator.events())
    assert "wrong password" not in str(world.operator.events())


def test_refused_tokens_are_on_record_once_in_a_while_for_each_address(world: World) -> None:
    def refused() -> list[tuple[str, str, str | None]]:
        found = [e for e in world.operator.events() if e.name == "user.token_refused"]
        return [(e.who, e.text.split(" ")[0], e.by_address) for e in found]

    for _ in range(3):
        for token in ("fo_personal_wrong", None):
            with pytest.raises(Forbidden):
                world.with_token(token).tasks()
    assert refused() == [("somebody", "this", "127.0.0.1")]
    assert "fo_personal_wrong" not in str(world.operator.events())
    world.clock.advance(sign_in_limits.WINDOW_SECONDS)
    with pytest.raises(Forbidden):
        world.with_token("fo_personal_wrong").tasks()
    assert len(refused()) == 2
    viewer = world.with_token(user_token(world, Role.VIEWER))
    assert not any(e.name.startswith("user.") for e in viewer.events())


def test_a_disabled_user_does_nothing_at_once(world: World) -> None:
    _anna(world)
    anna = _sign_in(world, "anna", PASSWORD)
    assert anna.tasks() == []
    assert world.operator.update_user("anna", c.UserUpdate(disabled=True)).disabled
    with pytest.raises(Forbidden):
        anna.tasks()
    world.operator.update_user("anna", c.UserUpdate(disabled=False))
    assert _sign_in(world, "anna", PASSWORD).tasks() == []


def test_a_removed_users_name_and_deeds_stay_theirs(world: World) -> None:
    _anna(world)
    token = world.operator.create_user_token(c.PersonalTokenCreate(), "anna").token
    world.operator.remove_user("anna")
    assert [user.name for user in world.operator.users()] == ["admin"]
    with pytest.raises(Forbidden, match="revoked"):
        world.with_token(token).tasks()
    with pytest.raises(Conflict, match="stays one person's"):
        _anna(world)
    with pytest.raises(NotFound, match="no user 'anna'"):
        world.operator.user("anna")


def test_a_change_of_role_holds_from_the_next_call(world: World) -> None:
    world.task()
    _anna(world, Role.VIEWER)
    anna = _sign_in(world, "anna", PASSWORD)
    with pytest.raises(Forbidden, match="for an admin or an operator; user 'anna' is a viewer"):
        anna.archive_task("mnist")
    world.operator.update_user("anna", c.UserUpdate(role=Role.OPERATOR, tasks=["digits"]))
    with pytest.raises(NotFound, match="among yours: the tasks digits"):
        anna.archive_task("mnist")
    world.operator.update_user("anna", c.UserUpdate(all_tasks=True))
    assert anna.archive_task("mnist").status.value == "archived"


def test_there_is_always_an_admin(world: World) -> None:
    for body in (c.UserUpdate(role=Role.VIEWER), c.UserUpdate(disabled=True)):
        with pytest.raises(Conflict, match="the only admin"):
            world.operator.update_user("admin", body)
    with pytest.raises(Conflict, match="the only admin"):
        world.operator.remove_user("admin")
    second = world.with_token(user_token(world, Role.ADMIN))
    assert second.update_user("admin", c.UserUpdate(disabled=True)).disabled
    with pytest.raises(Conflict, match="the only admin"):
        second.remove_user("the-admin")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.AUDITOR])
def test_who_sees_everything_is_not_limited(world: World, role: Role) -> None:
    with pytest.raises(Invalid, match="sees all tasks"):
        world.operator.add_user(c.UserCreate(name="x", role=role, tasks=["mnist"]))


def test_a_token_lets_its_holder_do_less_and_not_more(world: World) -> None:
    world.task()
    narrow = c.PersonalTokenCreate(role=Role.VIEWER, tasks=["mnist"], expires_in_seconds=60)
    token = world.operator.create_user_token(narrow)
    viewer = world.with_token(token.token)
    assert viewer.whoami().roles == [Role.ADMIN, Role.VIEWER]
    assert [task.name for task in viewer.tasks()] == ["mnist"]
    with pytest.raises(Forbidden, match="user 'admin' is a viewer here"):
        viewer.archive_task("mnist")
    with pytest.raises(Forbidden, match="cannot be operator"):
        viewer.create_user_token(c.PersonalTokenCreate(role=Role.OPERATOR))
    with pytest.raises(Forbidden, match="no leave for all of the tasks"):
        viewer.create_user_token(c.PersonalTokenCreate(tasks=["digits"]))
    with pytest.raises(Forbidden, match="no later"):
        viewer.create_user_token(c.PersonalTokenCreate(expires_in_seconds=61))
    with pytest.raises(Forbidden, match="itself only"):
        viewer.revoke_user_token(world.operator.whoami().token_id)
    inherited = viewer.create_user_token(c.PersonalTokenCreate())
    assert (inherited.role, inherited.tasks) == (Role.VIEWER, ["mnist"])
    assert inherited.expires_at == token.expires_at
    world.clock.advance(60)
    with pytest.raises(Forbidden, match="expired"):
        viewer.tasks()


def test_an_operators_token_is_no_admins(world: World) -> None:
    _anna(world)
    with pytest.raises(Forbidden, match="'anna' is operator here: a token cannot be admin"):
        world.operator.create_user_token(c.PersonalTokenCreate(role=Role.ADMIN), "anna")


def test_nobody_reaches_anothers_tokens(world: World) -> None:
    _anna(world)
    anna = _sign_in(world, "anna", PASSWORD)
    admins = world.operator.whoami().token_id
    with pytest.raises(NotFound, match=f"no token {admins}"):
        anna.revoke_user_token(admins)
    with pytest.raises(Forbidden):
        anna.user_tokens("admin")
    assert {token.user for token in anna.user_tokens()} == {"anna"}


def test_a_rotated_token_is_worth_nothing_and_the_file_has_the_new_one(tmp_path: Path) -> None:
    with managing(tmp_path) as world:
        file = world.manager.services.settings.admin_token_file
        former = file.read_text().strip()
        made = world.operator.rotate_token()
        assert file.read_text().strip() == made.token != former
        assert file.stat().st_mode & 0o777 == 0o600
        with pytest.raises(Forbidden, match="was revoked"):
            world.with_token(former).tasks()
        other = world.with_token(world.operator_token()).create_user_token(c.PersonalTokenCreate())
        world.with_token(other.token).rotate_token()
        assert file.read_text().strip() == made.token
    with managing(tmp_path) as again:
        assert again.operator.whoami().token_id == made.id


def test_what_was_made_with_a_stolen_token_ends_with_it(world: World) -> None:
    owned = world.operator.create_user_token(c.PersonalTokenCreate(note="mine"))
    owner = world.with_token(str(owned.token))
    child = owner.create_user_token(c.PersonalTokenCreate(note="of a thief"))
    thief = world.with_token(str(child.token))
    grandchild = world.with_token(str(thief.create_user_token(c.PersonalTokenCreate()).token))
    assert grandchild.whoami().user == "admin"
    fresh = world.with_token(str(owner.rotate_token().token))
    for token in (owner, thief, grandchild):
        with pytest.raises(Forbidden, match="was revoked"):
            token.whoami()
    assert fresh.whoami().user == "admin"
    assert world.operator.whoami().user == "admin"


def test_a_rotated_token_ends_when_the_former_one_would_have(world: World) -> None:
    body = c.PersonalTokenCreate(expires_in_seconds=1_000.0)
    made = world.operator.create_user_token(body)
    world.clock.advance(600.0)
    again = world.with_token(str(made.token)).rotate_token()
    assert again.expires_at == pytest.approx(made.expires_at)


def test_a_lost_file_makes_the_former_token_worthless(tmp_path: Path) -> None:
    with managing(tmp_path) as world:
        file = world.manager.services.settings.admin_token_file
        former = file.read_text().strip()
    file.unlink()
    with managing(tmp_path) as again:
        assert again.operator.whoami().user == "admin"
        assert file.read_text().strip() != former
        with pytest.raises(Forbidden, match="was revoked"):
            again.with_token(former).tasks()


def test_who_did_it_stands_beside_what_was_done(world: World) -> None:
    world.task()
    _anna(world)
    anna = _sign_in(world, "anna", PASSWORD)
    run = anna.start_run("mnist", c.RunStart())
    anna.stop_run(run.id)
    mine = anna.whoami().token_id
    events = world.operator.events(run_id=run.id)
    assert [(e.who, e.name) for e in events] == [
        ("user anna", "run.pending"),
        ("user anna", "run.stopped"),
    ]
    assert {(e.by_user, e.by_token, e.by_address) for e in events} == {("anna", mine, "127.0.0.1")}
    assert {(e.by_user, e.by_token, e.by_address) for e in anna.events(run_id=run.id)} == {
        ("anna", None, None)
    }
    auditor = world.with_token(user_token(world, Role.AUDITOR))
    assert [e.by_token for e in auditor.events(run_id=run.id)] == [mine, mine]
    assert any(e.name.startswith("user.") for e in auditor.events())
    assert not any(e.name.startswith("user.") for e in anna.events())
