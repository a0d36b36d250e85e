"""Tokens, joining, approval, presence: over HTTP, on a real database."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from managing import World, idle, managing, node_key, said_when_out

from fedops.api_client import JoinClient
from fedops.client.device.data_dir import public_openssh
from fedops.client.device.enrolment import join_request
from fedops.core import contracts as c
from fedops.core.errors import Conflict, Forbidden, Invalid, NotFound
from fedops.core.states import Enrolment, ProcessStatus


def _join(world: World, token: str, name: str = "pi", **changed: str) -> c.JoinReply:
    with JoinClient(world.url) as client:
        body = join_request(token, name, node_key(), c.DeviceInfo())
        return client.join(body.model_copy(update=changed))


def test_admin_token_is_kept_in_a_private_file(world: World) -> None:
    file = world.manager.services.settings.admin_token_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert world.operator.info().devices == 0


def test_a_restart_keeps_the_admin_token(tmp_path: Path) -> None:
    with managing(tmp_path) as first:
        token = first.manager.services.settings.admin_token_file.read_text()
    with managing(tmp_path) as second:
        assert second.manager.services.settings.admin_token_file.read_text() == token
        assert second.operator.info().devices == 0


@pytest.mark.parametrize(
    ("token", "status", "words"),
    [(None, 401, "needs a token"), ("fo_admin_wrong", 401, "not known here")],
)
def test_without_a_valid_token_nothing_is_answered(
    world: World, token: str | None, status: int, words: str
) -> None:
    headers = {"fedops-protocol": "1"}
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    for path in ("info", "tokens", "devices", "devices/me", "tasks", "runs", "engine/candidates"):
        answer = httpx.get(f"{world.url}/api/v1/{path}", headers=headers, timeout=60.0)
        assert answer.status_code == status, path
        assert answer.json()["kind"] == "forbidden"
        assert words in answer.json()["message"]
    assert httpx.get(f"{world.url}/health", timeout=60.0).json() == {"status": "ok"}


def test_a_token_of_another_kind_is_refused(world: World) -> None:
    reply, device = world.join("pi")
    with pytest.raises(
        Forbidden, match="takes the token of a user; what was sent is the token of a device"
    ):
        world.with_token(reply.device_token).tasks()
    join_token = world.join_token()
    with pytest.raises(Forbidden, match="what was sent is a join token"):
        world.with_token(join_token).tasks()
    assert device.me().name == "pi"


def test_a_join_token_says_why_it_is_not_valid(world: World) -> None:
    token = world.join_token(uses=1, expires=60)
    _join(world, token, "first")
    with pytest.raises(Forbidden, match="is used up"):
        _join(world, token, "second")
    late = world.join_token(expires=60)
    world.clock.advance(61)
    with pytest.raises(Forbidden, match="expired 1 s ago"):
        _join(world, late)
    with pytest.raises(Forbidden, match="not known here"):
        _join(world, "fo_join_nonsense")
    revoked = world.operator.create_token(c.TokenCreate())
    assert world.operator.revoke_token(revoked.id).revoked
    with pytest.raises(Forbidden, match="was revoked"):
        _join(world, revoked.token or "")
    assert [d.name for d in world.operator.devices()] == ["first"]


def test_tokens_are_listed_without_secrets_and_revoked_by_id(world: World) -> None:
    made = world.operator.create_token(c.TokenCreate(uses=3, note="lab"))
    assert made.token
    listed = world.operator.tokens()
    assert [(t.kind, t.uses_left, t.note, t.token) for t in listed] == [
        ("join", 3, "lab", None),
    ]
    with pytest.raises(NotFound, match="no token 99"):
        world.operator.revoke_token(99)
    with pytest.raises(NotFound, match="no token 1"):
        world.operator.revoke_token(1)  # the admin's own


def test_joining_approves_at_once_and_names_are_unique(world: World) -> None:
    first, device = world.join("pi")
    second, _ = world.join("pi")
    third, _ = world.join("pi")
    assert (first.name, second.name, third.name) == ("pi", "pi-2", "pi-3")
    assert first.enrolment is Enrolment.APPROVED
    assert device.me().why == "never seen; start 'fedops client run' on it"


def test_the_same_key_joins_as_the_same_device_with_a_new_token(world: World) -> None:
    key = node_key()
    first, old = world.join("pi", key)
    again, new = world.join("other", key)
    assert (again.device_id, again.name) == (first.device_id, "pi")
    assert new.me().name == "pi"
    with pytest.raises(Forbidden, match="was revoked"):
        old.me()
    assert len(world.operator.devices()) == 1


def test_who_knows_a_public_key_only_cannot_join_as_its_device(world: World) -> None:
    key, token = node_key(), world.join_token()
    world.join("pi", key)
    for proof in ("", "%%%", join_request(token, "pi", node_key(), c.DeviceInfo()).proof):
        with pytest.raises(Forbidden, match="signature"):
            _join(world, token, public_key=public_openssh(key), proof=proof)
    again, _ = world.join("pi", key, token)  # no refused attempt used the token up
    assert again.name == "pi"


@pytest.mark.parametrize("key", ["nonsense", "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----"])
def test_a_public_key_must_be_one(world: World, key: str) -> None:
    token = world.join_token()
    with pytest.raises(Invalid, match="public key"):
        _join(world, token, public_key=key)
    _join(world, token)  # the refused attempt did not use the token up


def test_the_name_me_is_kept_for_the_api(world: World) -> None:
    reply, _ = world.join("me")
    assert reply.name == "me-2"
    assert world.operator.device("me-2").id == reply.device_id


def test_manual_approval(tmp_path: Path) -> None:
    with managing(tmp_path, approval="manual") as world:
        world.task()
        reply, device = world.join("pi")
        assert reply.enrolment is Enrolment.PENDING
        desired = device.poll(idle())
        assert (desired.enrolment, desired.runs) == (Enrolment.PENDING, [])
        assert "waiting for approval ('fedops device approve pi')" in device.me().why
        assert world.operator.decide_device("pi", "approve").enrolment is Enrolment.APPROVED
        assert device.poll().enrolment is Enrolment.APPROVED
        world.operator.decide_device("pi", "approve")  # repeating is harmless
        with pytest.raises(Conflict, match="cannot go from 'approved' to 'rejected'"):
            world.operator.decide_device("pi", "reject")


def test_a_revoked_device_is_told_and_stays_out(world: World) -> None:
    key = node_key()
    _, device = world.join("pi", key)
    world.operator.decide_device("pi", "revoke")
    with pytest.raises(Forbidden, match="device 'pi' was revoked: it takes part in nothing"):
        said_when_out(device.poll)
    with pytest.raises(Forbidden, match="was revoked"):
        device.records(c.RecordBatch(records=[]))
    with pytest.raises(Forbidden, match="was revoked: it cannot join again"):
        world.join("pi", key)
    with pytest.raises(Conflict, match="from 'revoked' it can go to: removed"):
        world.operator.decide_device("pi", "approve")


def test_a_removed_device_leaves_its_history_and_its_name(world: World) -> None:
    world.task()
    key = node_key()
    world.join("other")
    _, device = world.join("pi", key)
    device.poll(idle())
    run, engine = world.running()
    world.begin(engine, 1, "pi")
    with pytest.raises(Conflict, match=f"'pi' takes part in run {run.id}: remove it when"):
        world.operator.decide_device("pi", "remove")
    engine.commit(world.commit(engine, 1, "pi"))
    engine.finish(c.EngineFinish(outcome="failed", text="enough"))
    removed = world.operator.decide_device("pi", "remove")
    assert (removed.enrolment, removed.online, removed.tasks) == (Enrolment.REMOVED, False, [])
    assert [one.name for one in world.operator.devices()] == ["other"]
    with pytest.raises(NotFound, match="no device 'pi'; there are: other"):
        world.operator.device("pi")
    with pytest.raises(Forbidden, match="this device was removed"):
        said_when_out(device.poll)
    (part,) = world.operator.rounds(run.id)[0].participations
    assert part.device == removed.name == f"pi (removed {removed.id[:6]})"
    reply, again = world.join("pi", key)  # the same machine, as a new device
    assert (reply.name, reply.enrolment) == ("pi", Enrolment.APPROVED)
    assert again.poll().enrolment is Enrolment.APPROVED
    world.operator.decide_device("pi", "remove")
    assert [e.name for e in world.operator.events()].count("device.removed") == 2


def test_an_unknown_device_names_the_known(world: World) -> None:
    with pytest.raises(NotFound, match="none has joined yet"):
        world.operator.device("pi")
    world.join("pi-4")
    with pytest.raises(NotFound, match="did you mean 'pi-4'"):
        world.operator.device("pi-5")
    with pytest.raises(NotFound, match="nothing at /api/v1/devices/pi-4/destroy"):
        world.operator.decide_device("pi-4", "destroy")


def test_presence_follows_polls_and_is_logged_once(world: World) -> None:
    _, device = world.join("pi")
    device.poll()
    assert world.operator.device("pi").online
    world.clock.advance(7.9)
    world.manager.maintenance.step()
    assert world.operator.device("pi").online
    world.clock.advance(0.2)
    for _ in range(3):
        world.manager.maintenance.step()
    seen = world.operator.device("pi")
    assert not seen.online
    assert seen.why == "offline, last seen 8 s ago; start 'fedops client run' on it"
    device.poll()
    names = [e.name for e in world.operator.events()]
    assert names.count("device.online") == 2
    assert names.count("device.offline") == 1


def test_a_device_enters_and_leaves_tasks_by_its_polls(world: World) -> None:
    world.task("mnist")
    _, device = world.join("pi")
    desired = device.poll(c.WorkPoll(tasks=["mnist", "mnits"]))
    assert desired.tasks == ["mnist"]
    assert desired.problems == [
        "there is no task 'mnits' on the server; did you mean 'mnist'? (the server's tasks: mnist)"
    ]
    assert "did you mean 'mnist'" in world.operator.device("pi").why
    assert world.operator.task("mnist").devices == ["pi"]
    assert [d.name for d in world.operator.devices(task="mnist")] == ["pi"]
    desired = device.poll(c.WorkPoll())
    assert (desired.tasks, desired.problems) == ([], [])
    assert "in no task" in world.operator.device("pi").why


def test_what_a_device_runs_on_is_renewed_when_it_starts(world: World) -> None:
    _, device = world.join("pi")
    assert world.operator.device("pi").info.libraries == {}
    now = c.DeviceInfo(hostname="host-of-pi", python="3.12.1", libraries={"torch": "2.7.0"})
    device.poll(c.WorkPoll(info=now, life="anew"))
    device.poll(c.WorkPoll())
    assert world.operator.device("pi").info == now


def test_a_device_that_runs_twice_is_told_of(world: World) -> None:
    world.task()
    device = world.ready_devices("pi")["pi"]
    here, copy = (idle("mnist").model_copy(update={"life": life}) for life in ("here", "copy"))
    assert device.poll(here).problems == []
    assert device.poll(copy).problems == []  # it was started anew, for all one knows
    for beat in (here, copy, here):
        assert "data dir was copied" in device.poll(beat).problems[0]
    assert "online, but two Client Managers run" in world.operator.device("pi").why
    assert [e.name for e in world.operator.events()].count("device.twins") == 1


def test_the_process_is_shown_with_its_reason(world: World) -> None:
    world.task()
    _, device = world.join("pi")
    process = c.ProcessReport(
        status=ProcessStatus.FATAL, reason="no module named torch", restarts=5
    )
    device.poll(c.WorkPoll(tasks=["mnist"], process=process))
    assert world.operator.device("pi").why == (
        "online; its training client was given up: no module named torch; "
        "mend that, then 'fedops client restart' on the device"
    )
    event = next(e for e in world.operator.events() if e.name == "device.fatal")
    assert (event.text, event.data) == (
        "no module named torch",
        {"before": "stopped", "after": "fatal"},
    )


def test_records_count_once(world: World) -> None:
    world.task()
    device = world.ready_devices("pi", "other")["other"]
    run, engine = world.running()
    world.ask(engine, "other")
    batch = c.RecordBatch(
        records=[
            c.DeviceRecord(
                id="metric-1",
                kind=c.RecordKind.METRIC,
                run_id=run.id,
                round=1,
                name="loss",
                value=0.5,
            ),
            c.DeviceRecord(id="event-001", kind=c.RecordKind.EVENT, name="checkpoint", text="kept"),
            c.DeviceRecord(id="metric-2", kind=c.RecordKind.METRIC, run_id=77, name="x", value=1),
            c.DeviceRecord(id="metric-3", kind=c.RecordKind.METRIC, run_id=run.id, name="x"),
            c.DeviceRecord(
                id="log-0001", kind=c.RecordKind.LOG, text="hello", data={"a": [1, None]}
            ),
        ]
    )
    first = device.records(batch)
    assert (first.accepted, first.duplicates) == (3, 0)
    assert first.refused == [
        "metric-2: this device was not asked to work in a run 77",
        "metric-3: the metric 'x' has no value",
    ]
    again = device.records(batch)
    assert (again.accepted, again.duplicates) == (0, 3)
    assert [(m.device, m.source, m.value) for m in world.operator.metrics(run.id, "loss")] == [
        ("other", "device", 0.5)
    ]
    assert [e.text for e in world.operator.events() if e.name == "checkpoint"] == ["kept"]


def test_desired_is_held_until_it_changes(world: World) -> None:
    world.task()
    _, device = world.join("pi")
    first = device.poll(idle())
    same = device.poll(wait=0.2)
    assert same.revision == first.revision
    run = world.operator.start_run("mnist", c.RunStart())
    assert device.poll().runs == []  # pending: nobody trains yet
    world.open_attempt(run.id)
    news = device.poll(wait=5)
    assert news.revision > first.revision
    assert news.runs == [run.id]


def test_a_renamed_device_keeps_its_history_and_hears_its_name(world: World) -> None:
    world.task()
    world.join("other")
    reply, device = world.join("pi")
    device.poll(idle())
    run, engine = world.running()
    world.begin(engine, 1, "pi")
    new = c.DeviceRename(name="ward-7")
    with pytest.raises(Conflict, match=f"'pi' takes part in run {run.id}: rename it when the run"):
        world.operator.rename_device("pi", new)
    engine.commit(world.commit(engine, 1, "pi"))
    engine.finish(c.EngineFinish(outcome="failed", text="enough"))
    assert device.poll().name == "pi"
    with pytest.raises(Conflict, match="the name 'other' is taken by another device: choose"):
        world.operator.rename_device("pi", c.DeviceRename(name="other"))
    with pytest.raises(Invalid, match="a device cannot be called 'me'"):
        world.operator.rename_device("pi", c.DeviceRename(name="me"))
    before = device.last.revision
    renamed = world.operator.rename_device("pi", new)
    assert (renamed.id, renamed.name, renamed.tasks) == (reply.device_id, "ward-7", ["mnist"])
    assert world.operator.rename_device("ward-7", new) == renamed, "repeating is harmless"
    told = device.poll(wait=5.0)
    assert (told.name, told.revision != before) == ("ward-7", True)
    (part,) = world.operator.rounds(run.id)[0].participations
    assert part.device == "ward-7"
    with pytest.raises(NotFound, match="no device 'pi'; there are: other, ward-7"):
        world.operator.device("pi")
    (event,) = [e for e in world.operator.events() if e.name == "device.renamed"]
    assert (event.subject, event.text) == ("device ward-7", "it was called pi")
    assert world.join("pi")[0].name == "pi", "its former name is free"


def test_no_device_is_taken_for_another_by_its_name(world: World) -> None:
    reply, device = world.join("victim")
    other, _ = world.join(reply.device_id)
    assert other.name == f"{reply.device_id}-2"
    assert world.operator.device(reply.device_id).name == "victim"
    assert device.me().name == "victim"
    with pytest.raises(Invalid, match="choose another name"):
        world.operator.rename_device(other.name, c.DeviceRename(name=reply.device_id))
