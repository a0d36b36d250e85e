"""What a device may read and do: its own, and only once it was let in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from managing import World, document, idle, managing, node_key, said_when_out

from fedops.api_client import DeviceClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, Forbidden, Invalid, NotApproved, NotFound
from fedops.core.states import Enrolment

API = "/api/v1"


def said(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "fedops-protocol": str(c.PROTOCOL)}


# --- join tokens -------------------------------------------------------------------------------


def test_a_join_token_is_for_one_device_and_a_quarter_of_an_hour(world: World) -> None:
    made = world.operator.create_token(c.TokenCreate())
    assert made.uses_left == 1
    assert made.expires_at == pytest.approx(world.clock() + 900.0)


def test_a_join_token_of_a_network_is_good_from_there_alone(world: World) -> None:
    inside = world.operator.create_token(c.TokenCreate(network="127.0.0.7/8"))
    outside = world.operator.create_token(c.TokenCreate(network="192.0.2.0/24"))
    assert inside.network == "127.0.0.0/8"
    with pytest.raises(
        Forbidden, match=r"is for machines in 192\.0\.2\.0/24; this one calls from 127"
    ):
        world.join("a", token=outside.token)
    world.join("a", token=inside.token)
    left = {token.id: token.uses_left for token in world.operator.tokens()}
    assert (left[outside.id], left[inside.id]) == (1, 0)  # what was refused was not spent


def test_what_is_no_network_or_no_task_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        c.TokenCreate(network="10.0.0.0/33")
    with pytest.raises(NotFound, match="there is no task 'nowhere'"):
        world.operator.create_token(c.TokenCreate(task="nowhere"))
    answer = httpx.post(
        world.url + API + "/tokens",
        json={"network": "everywhere"},
        headers={"authorization": world.operator._http.headers["authorization"]},
    )
    assert answer.status_code == 422


def test_a_device_that_joined_for_a_task_sees_and_enters_that_one_alone(world: World) -> None:
    world.task("mnist")
    world.task("other")
    token = world.operator.create_token(c.TokenCreate(task="mnist")).token
    _, device = world.join("a", token=token)
    assert [task.name for task in device.tasks()] == ["mnist"]
    device.poll(c.WorkPoll(tasks=["mnist", "other"], process=idle().process))
    work = device.poll()
    assert work.tasks == ["mnist"]
    assert work.problems == ["this device joined for task 'mnist' alone"]
    _, free = world.join("b")
    assert [task.name for task in free.tasks()] == ["mnist", "other"]


def test_who_joins_again_is_bound_as_the_newest_token_says(world: World) -> None:
    world.task("mnist")
    world.task("other")
    key = node_key()
    bound = world.operator.create_token(c.TokenCreate(task="mnist")).token
    world.join("a", key, bound)
    _, device = world.join("a", key, world.join_token())
    assert len(device.tasks()) == 2


# --- pending and out ---------------------------------------------------------------------------


def test_a_device_that_waits_reads_nothing(tmp_path: Path) -> None:
    with managing(tmp_path, approval="manual") as world:
        world.task("secret-study")
        _, device = world.join("a")
        for read in (device.tasks, device.configs):
            with pytest.raises(NotApproved, match="before an operator lets it in"):
                read()
        device.poll(idle("secret-study"))
        for work in (device.poll(), device.poll(idle("secret-studies"))):
            assert (work.enrolment, work.tasks, work.problems) == (Enrolment.PENDING, [], [])
        device.poll(idle("secret-study"))
        assert world.operator.device("a").online
        world.operator.decide_device("a", "approve")
        assert device.poll().tasks == ["secret-study"]  # it said nothing new
        assert [task.name for task in device.tasks()] == ["secret-study"]


@pytest.mark.parametrize("how", ["revoke", "remove"])
def test_a_device_that_is_out_reads_nothing(world: World, how: str) -> None:
    world.task()
    device = world.ready_devices("a")["a"]
    world.operator.decide_device("a", how)
    for call in (device.me, device.tasks, device.configs, device.poll, device.renew_credential):
        with pytest.raises(Forbidden):
            said_when_out(call)


# --- its own alone -----------------------------------------------------------------------------


def test_no_route_with_an_id_gives_one_device_what_is_anothers(world: World) -> None:
    world.task()
    devices = world.ready_devices("mine", "theirs")
    run, engine = world.running()
    model = engine.upload(world.model(1.0)).sha256
    theirs = world.begin(engine, 1, "theirs", model=model, instructions=[document(model)])["theirs"]
    devices["theirs"].take()
    told = said(devices["mine"].token)
    tus = {**told, "tus-resumable": "1.0.0", "upload-length": "8"}
    with httpx.Client(base_url=world.url + API, headers=told, trust_env=False) as http:
        answers = {
            "instruction": http.get(f"/work/{theirs}/instruction"),
            "progress": http.post(f"/work/{theirs}/progress", json={"stage": "training"}),
            "end": http.post(
                f"/work/{theirs}/end", json={"outcome": "failed", "reason": "not mine"}
            ),
            "result": http.post(f"/work/{theirs}/result", content=b"12345678"),
            "slot": http.post(f"/work/{theirs}/slot", json={"size": 8, "wait": 0}),
            "blob": http.get(f"/blobs/{model}"),
            "upload": http.post("/blobs", headers=tus | metadata(theirs)),
            "upload part": http.head(f"/blobs/uploads/{theirs}", headers=tus),
            "end of an upload": http.delete(f"/blobs/uploads/{theirs}", headers=tus),
            "device": http.get("/devices/theirs"),
            "logs": http.get("/devices/theirs/logs"),
            "telemetry": http.get("/devices/theirs/telemetry"),
            "run": http.get(f"/runs/{run.id}"),
            "logs of the run": http.get(f"/runs/{run.id}/logs"),
            "task": http.get("/tasks/mnist"),
            "model": http.get("/tasks/mnist/models/1"),
        }
    given = {what: a.status_code for what, a in answers.items() if a.status_code not in (403, 404)}
    assert given == {}
    assert devices["theirs"].poll().cancel == []  # its work goes on
    assert devices["theirs"].instruction(theirs).id == theirs


def metadata(assignment: str) -> dict[str, str]:
    import base64

    pairs = {"assignment": assignment, "sha256": "0" * 64, "encoding": "none"}
    text = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())
    return {"upload-metadata": text}


# --- its credential ----------------------------------------------------------------------------


@pytest.fixture
def renewing(world: World) -> Callable[[str], DeviceClient]:
    def client(token: str) -> DeviceClient:
        made = DeviceClient(world.url, token=token)
        world._open.append(made)
        return made

    return client


def test_the_old_credential_is_good_until_a_while_after_the_new_one_is_confirmed(
    world: World, renewing: Callable[[str], DeviceClient]
) -> None:
    reply, old = world.join("a")
    new = renewing(old.renew_credential().token)
    world.clock.advance(600.0)
    assert old.me().name == new.me().name == "a"
    new.confirm_credential()
    new.confirm_credential()
    assert old.me().name == "a"  # a call of it may be under way
    world.clock.advance(301.0)
    with pytest.raises(Forbidden, match="expired"):
        old.me()
    world.clock.advance(1e6)
    assert new.me().id == reply.device_id
    names = [event.name for event in world.operator.events()]
    assert names.count("device.credential_renewed") == 1


def test_one_that_is_not_confirmed_ends_and_so_does_one_that_was_not_used(
    world: World, renewing: Callable[[str], DeviceClient]
) -> None:
    _, old = world.join("a")
    first = renewing(old.renew_credential().token)
    second = renewing(old.renew_credential().token)
    with pytest.raises(Forbidden, match="revoked"):
        first.confirm_credential()
    world.clock.advance(3_601.0)
    with pytest.raises(Forbidden, match="expired"):
        second.confirm_credential()
    assert old.me().name == "a"


def test_an_old_credential_cannot_replace_the_new_one(
    world: World, renewing: Callable[[str], DeviceClient]
) -> None:
    _, old = world.join("a")
    new = renewing(old.renew_credential().token)
    new.confirm_credential()
    with pytest.raises(Conflict, match="was replaced"):
        old.renew_credential()
    with pytest.raises(Conflict, match="was replaced"):
        old.confirm_credential()
    assert new.me().name == "a"


def test_no_other_token_makes_one(world: World) -> None:
    for token in (world.operator._http.headers["authorization"].split()[1], world.join_token()):
        client = DeviceClient(world.url, token=token)
        with pytest.raises((Forbidden, Invalid)):
            client.renew_credential()
        client.close()
