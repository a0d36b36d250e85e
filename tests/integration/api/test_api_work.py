"""Work as devices and engines see it: offered, accepted, delivered, ended; over HTTP, on a real database."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
import time
from pathlib import Path

import httpx
import pytest
from managing import Device, Engine, World, idle, later, managing, replied

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Forbidden, Invalid, NotFound
from fedops.core.states import ASSIGNMENT_TRANSITIONS, ParticipationStatus
from fedops.core.states import AssignmentStatus as A
from fedops.server.access.tokens import Principal
from fedops.server.assignments import assignments
from fedops.server.database import lookup
from fedops.server.database.tables import AssignmentRow

RESULT = b"a small payload file"


def _status(world: World, id_: str) -> A:
    with world.manager.services.db.read() as session:
        return session.get_one(AssignmentRow, id_).status


def _collect(engine: Engine, after: int = 0, wait: float = 5.0, **verdicts: object) -> c.Collected:
    body = {"after": after, "wait": wait, **verdicts}
    return engine.collect(c.CollectRequest.model_validate(body))


def test_a_round_is_offered_accepted_delivered_and_checked(world: World) -> None:
    world.task()
    a = world.ready_devices("a", "b")["a"]
    run, engine = world.running()
    made = world.begin(engine, 1, "a", "b")
    work = a.poll(wait=5)
    (offer,) = work.offers
    assert (offer.id, offer.kind, offer.task, offer.run_id, offer.round) == (
        made["a"], "train", "mnist", run.id, 1,
    )  # fmt: skip
    assert offer.seconds_left == 60.0
    assert _status(world, offer.id) is A.OFFERED
    instruction = a.instruction(offer.id)
    assert instruction.content["records"]["arrays"]["type"] == "array"
    assert instruction.work_key.startswith(f"run-{run.id}-round-1-train-")
    a.held = [offer.id]
    assert a.poll().offers == []
    world.step()
    assert _status(world, offer.id) is A.ACCEPTED
    a.progress(offer.id, c.Progress(stage=c.Stage.TRAINING, done=1, total=5))
    world.clock.advance(1)
    world.step()
    assert _status(world, offer.id) is A.WORKING
    a.deliver(offer.id, RESULT)
    a.deliver(offer.id, b"another one: the first counts")
    assert _status(world, offer.id) is A.UPLOADED
    assert a.poll().forget == [offer.id]
    got = _collect(engine)
    (delivery,) = got.deliveries
    assert (delivery.id, delivery.device, delivery.status) == (offer.id, "a", A.UPLOADED)
    assert base64.b64decode(delivery.inline or "") == RESULT
    _collect(engine, got.sequence, 0, checked=[offer.id])
    assert _status(world, offer.id) is A.CHECKED
    a.deliver(offer.id, RESULT)  # the answer was lost: harmless still
    parts = [replied(name) for name in ("a", "b")]
    engine.commit(world.commit(engine, 1, "a").model_copy(update={"participations": parts}))
    assert _status(world, made["b"]) is A.EXPIRED
    assert _status(world, made["a"]) is A.CHECKED


# --- the long poll ---------------------------------------------------------------------------


def test_a_poll_waits_and_is_woken_by_an_offer(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    a.poll()
    began = time.monotonic()
    with later(0.3, lambda: world.begin(engine, 1, "a")):
        assert a.poll(wait=10).offers
    assert 0.2 < time.monotonic() - began < 2.0


def test_an_offer_is_repeated_until_it_is_held(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    made = world.begin(engine, 1, "a")
    a.poll()  # its answer was lost
    for _ in range(2):  # at once when the poll does not wait, after a moment when it does
        began = time.monotonic()
        assert [offer.id for offer in a.poll(wait=5).offers] == [made["a"]]
        assert time.monotonic() - began < 1.5
    again = a.poll(idle().model_copy(update={"life": "another"}), wait=5)
    assert [offer.id for offer in again.offers] == [made["a"]]  # a new life is told at once


def test_an_accepted_offer_is_given_to_a_device_that_forgot_it(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a")
    taken = a.take()
    a.held = []
    assert [offer.id for offer in a.poll(wait=2).offers] == [taken.id]
    assert a.instruction(taken.id) == taken


def test_two_copies_of_a_device_get_no_work(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a")
    here, copy = (idle().model_copy(update={"life": life}) for life in ("here", "copy"))
    assert a.poll(here).offers
    a.poll(copy)
    for body in (here, copy):
        work = a.poll(body)
        assert not work.offers
        assert "data dir was copied" in work.problems[0]
    (found,) = engine.candidates().candidates
    assert "data dir was copied" in str(found.unavailable)


def test_what_a_device_holds_of_another_server_is_forgotten(world: World) -> None:
    _, a = world.join("a")
    a.held = ["0" * 32]
    assert a.poll().forget == ["0" * 32]


def test_a_poll_of_another_version_is_told_what_to_do(world: World) -> None:
    _, a = world.join("a")
    for said in ("", "0", "7", "x"):
        headers = {"fedops-protocol": said, "authorization": a._http.headers["authorization"]}
        for path in ("work", "devices/me/heartbeat", "engine/hello"):
            answer = httpx.post(f"{world.url}/api/v1/{path}", headers=headers, json={}, timeout=60)
            assert answer.status_code == 426, path
            assert "this server speaks version 1 of the FedOps protocol" in answer.json()["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/devices/me/heartbeat",
        "/api/v1/devices/me/desired?wait=5",
        "/api/v1/node/bell",
        "/api/v1/node/uploads/7",
        "/v1/fleet/pull-messages",
    ],
)
def test_what_devices_of_before_call_says_to_update_them(world: World, path: str) -> None:
    _, a = world.join("a")
    for method in ("GET", "POST"):
        for headers in ({}, dict(a._http.headers)):
            answer = httpx.request(method, world.url + path, headers=headers, timeout=60)
            assert answer.status_code == 426, (method, path)
            assert "update FedOps on this machine" in answer.json()["message"]


def test_who_is_too_old_to_work_cannot_join_either(world: World) -> None:
    answer = httpx.post(f"{world.url}/api/v1/join", json={}, timeout=60)
    assert answer.status_code == 426


def test_bad_calls_are_refused_before_they_are_read(world: World) -> None:
    _, a = world.join("a")
    for data, words in (
        (b"{", "no valid JSON"),
        (b'{"held": [{"id": "x"}]}', "held.0.id"),
        (b'{"wait": -1}', "wait"),
        (b"[" * 100 + b"]" * 100, "nested"),
        (b" " * (300 << 10), "larger than"),
    ):
        with pytest.raises(Invalid, match=words):
            a._send("POST", "/work", content=data)
    with pytest.raises(NotFound, match="there is nothing at"):
        a._send("POST", "/work/x/y/z")
    with pytest.raises(Invalid, match="larger than the 65,536 bytes"):
        a.deliver("0" * 32, b"x" * (c.INLINE_BYTES + 1))
    with pytest.raises(Forbidden, match="takes the token of a device"):
        world.operator._send("POST", "/work", json={})


# --- ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_a_device_ends_its_work_once(world: World, outcome: str) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    made = world.begin(engine, 1, "a")
    a.take()
    end = c.WorkEnd.model_validate({"outcome": outcome, "reason": "no data", "code": 7})
    a.end(made["a"], end)
    a.end(made["a"], end)
    (delivery,) = _collect(engine).deliveries
    assert (delivery.status, delivery.reason, delivery.code) == (A(outcome), "no data", 7)
    with pytest.raises(Conflict, match=f"is {outcome}: no data") as refused:
        a.deliver(made["a"], RESULT)
    assert refused.value.http_status == 409  # as a kind; the answer itself was 410
    assert a.poll().forget == [made["a"]]
    with pytest.raises(Conflict, match="is over"):
        a.instruction(made["a"])


def test_the_work_of_another_device_is_nobody_elses(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    id_ = world.begin(engine, 1, "a")["a"]
    other = devices["b"]
    calls = [
        lambda: other.instruction(id_),
        lambda: other.progress(id_, c.Progress(stage=c.Stage.TRAINING)),
        lambda: other.end(id_, c.WorkEnd(outcome="refused", reason="x")),
        lambda: other.deliver(id_, RESULT),
        lambda: other.slot(id_, c.SlotRequest(size=1, wait=0)),
    ]
    for call in calls:
        with pytest.raises(NotFound, match="this device has no assignment"):
            call()
    assert _status(world, id_) is A.OFFERED


def test_late_work_expires_and_who_uploads_has_a_little_longer(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "c")
    _, engine = world.running()
    made = world.begin(engine, 1, "a", "b", "c", deadline_seconds=100.0)
    for device in devices.values():
        device.take()
    assert devices["b"].slot(made["b"], c.SlotRequest(size=10, wait=0)).granted
    devices["c"].progress(made["c"], c.Progress(stage=c.Stage.UPLOADING, done=1, total=2))
    world.clock.advance(99)
    world.step()
    assert {_status(world, id_) for id_ in made.values()} <= {A.ACCEPTED, A.WORKING}
    world.clock.advance(1)
    world.step()
    assert _status(world, made["a"]) is A.EXPIRED
    (cancelled,) = devices["a"].poll().cancel
    assert (cancelled.id, cancelled.reason) == (made["a"], "its deadline passed")
    with pytest.raises(Conflict, match="its deadline passed"):
        devices["a"].deliver(made["a"], RESULT)
    devices["b"].deliver(made["b"], RESULT)
    world.clock.advance(29)
    world.step()
    assert _status(world, made["c"]) is A.WORKING
    world.clock.advance(1)
    world.step()
    assert _status(world, made["c"]) is A.EXPIRED
    found = {d.device: d.status for d in _collect(engine).deliveries}
    assert found == {"a": A.EXPIRED, "b": A.UPLOADED, "c": A.EXPIRED}


def test_what_is_cancelled_is_let_go_of(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    made = world.begin(engine, 1, "a")
    a.take()
    a.poll()
    engine.cancel(c.CancelRequest(round=1, reason="enough replies"))
    assert [one.reason for one in a.poll(wait=5).cancel] == ["enough replies"]
    assert [one.id for one in a.poll().cancel] == [made["a"]]  # level-triggered
    assert _row(world, made["a"]).released_at is None
    assert a.drop(made["a"]).cancel == []
    assert _row(world, made["a"]).released_at is not None
    with pytest.raises(Invalid, match="give their ids, or a round"):
        engine.cancel(c.CancelRequest(reason="x"))


def _row(world: World, id_: str) -> AssignmentRow:
    with world.manager.services.db.read() as session:
        row = session.get_one(AssignmentRow, id_)
        session.expunge(row)
        return row


# --- offers ----------------------------------------------------------------------------------


def test_the_same_offer_makes_the_same_assignment(world: World) -> None:
    world.task()
    a = world.ready_devices("a", "b")["a"]
    _, engine = world.running()
    first = world.begin(engine, 1, "a")
    assert world.begin(engine, 1, "a") == first  # the answer was lost
    taken = a.take()
    assert taken.id == first["a"]
    a.deliver(taken.id, RESULT)
    assert world.begin(engine, 1, "a") == first  # what is delivered stays so
    more = engine.offer(world.batch(engine, "a", "b", round=1))
    assert more.assignments["a"] == first["a"]
    assert more.assignments["b"] != first["a"]
    _collect(engine, 0, 0, rejected={taken.id: "it is not finite"})
    again = engine.offer(world.batch(engine, "a", round=1, retry=1))
    assert again.assignments["a"] != first["a"]
    a.held = []
    assert a.take().retry == 1


def test_a_round_that_is_begun_anew_takes_those_out_that_are_not_chosen_again(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    _, engine = world.running()
    first = world.begin(engine, 1, "a", "b")
    second = world.begin(engine, 1, "b")
    assert second == {"b": first["b"]}
    assert _status(world, first["a"]) is A.CANCELLED


def test_work_beside_the_rounds(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    for _ in range(2):  # a server app may ask for the same thing again
        made = engine.offer(world.batch(engine, "a", kind="query", group_id="g"))
        instruction = a.take()
        assert (instruction.id, instruction.round, instruction.group_id) == (
            made.assignments["a"], None, "g",
        )  # fmt: skip
        a.deliver(instruction.id, RESULT)
        a.held = []
        got = _collect(engine, 0)
        _collect(engine, got.sequence, 0, checked=[instruction.id])


def test_offers_that_cannot_be_are_refused(world: World) -> None:
    world.task()
    world.ready_devices("a")
    _, engine = world.running()
    good = world.batch(engine, "a").model_dump(mode="json")
    missing = {**good, "instructions": [{"version": 1, "records": {}}] * 0}
    for body, words in (
        ({**good, "offers": [{"device": "z", "kind": "train", "instruction": 0}]}, "no device z"),
        (missing, "names no instruction"),
        ({**good, "instructions": [{"version": 2}]}, "no payload document"),
    ):
        with pytest.raises(Invalid, match=words):
            engine.offer(c.OfferBatch.model_validate(body))
    unknown = world.batch(engine, "a", model="0" * 64)
    with pytest.raises(NotFound, match="was not uploaded"):
        engine.offer(unknown)
    with pytest.raises(Conflict, match="has not begun round 1"):
        engine.offer(c.OfferBatch.model_validate({**good, "round": 1}))


# --- attempts and restarts -------------------------------------------------------------------


def _lose(world: World, run_id: int) -> None:
    from fedops.server.runs import attempts, transitions

    with world.manager.services.db.write() as session:
        attempt = transitions.attempt_of(session, lookup.require_run(session, run_id))
        assert attempt is not None
        attempts.mark_lost(session, attempt.id, "killed", world.clock())


def test_the_next_attempt_takes_a_round_over(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "c", "d")
    run, engine = world.running()
    model = _model_of(world, engine)
    made = world.begin(engine, 1, *devices, model=model)
    for name in ("a", "b", "c"):
        devices[name].take()
        devices[name].poll()
    devices["a"].deliver(made["a"], RESULT)
    got = _collect(engine)
    _collect(engine, got.sequence, 0, checked=[made["a"]])
    devices["b"].deliver(made["b"], RESULT)
    _lose(world, run.id)
    devices["c"].deliver(made["c"], RESULT)  # between two attempts
    _, second = world.open_attempt(run.id)
    spec = second.hello(c.EngineHello(pid=2))
    assert spec.open_round is not None
    assert (spec.next_round, spec.open_round.round) == (1, 1)
    assert spec.open_round.selected == dict.fromkeys(devices, "all of them")
    states = {one.device: one.status for one in spec.open_round.assignments}
    assert states == {"a": A.CHECKED, "b": A.UPLOADED, "c": A.UPLOADED, "d": A.OFFERED}
    assert spec.open_round.seconds_left == 60.0
    assert {d.device for d in _collect(second).deliveries} == {"a", "b", "c"}
    devices["d"].take()
    devices["d"].deliver(made["d"], RESULT)
    got = _collect(second, 0)
    assert [d.device for d in got.deliveries][-1] == "d"
    assert len({d.id for d in got.deliveries}) == 4
    second.commit(world.commit(second, 1, *devices))
    assert [r.attempt for r in world.operator.rounds(run.id)] == [2]
    assert len(world.operator.rounds(run.id)[0].participations) == 4
    names = [e.name for e in world.operator.events(run_id=run.id)]
    assert names.count("round.begun") == 1
    assert names.count("round.taken_over") == 1
    with pytest.raises(Conflict, match="attempt 1 of run"):
        engine.offer(world.batch(second, "a"))


def _model_of(world: World, engine: Engine) -> str:
    """The model that the run begins from."""
    return engine.upload(world.model(0.0)).sha256


def test_a_round_from_another_model_begins_anew(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    made = world.begin(engine, 1, "a", "b", model=engine.upload(world.model(5.0)).sha256)
    devices["a"].take()
    devices["a"].deliver(made["a"], RESULT)
    _lose(world, run.id)
    _, second = world.open_attempt(run.id)
    assert second.hello(c.EngineHello(pid=2)).open_round is None
    assert {_status(world, id_) for id_ in made.values()} == {A.CANCELLED}
    new = world.begin(second, 1, "a", "b")
    assert not set(new.values()) & set(made.values())


def test_a_paused_run_keeps_what_was_delivered_and_offers_the_rest_again(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    model = _model_of(world, engine)
    made = world.begin(engine, 1, "a", "b", model=model)
    key = devices["a"].take().work_key
    devices["a"].poll()
    devices["b"].take()
    devices["b"].deliver(made["b"], RESULT)
    assert devices["b"].poll().forget == [made["b"]]
    devices["b"].drop(made["b"])
    assert world.operator.pause_run(run.id).stopping == ["a"]
    (cancelled,) = devices["a"].poll(wait=5).cancel
    assert (cancelled.checkpoint, cancelled.reason) == (True, "the run is paused")
    engine.finish(c.EngineFinish(outcome="paused"))
    devices["a"].drop(made["a"])
    assert world.operator.run(run.id).status == "paused"
    world.operator.resume_run(run.id)
    _, second = world.open_attempt(run.id)
    spec = second.hello(c.EngineHello(pid=2))
    assert spec.open_round is not None
    assert [(one.device, one.status) for one in spec.open_round.assignments] == [("b", A.UPLOADED)]
    assert set(spec.open_round.selected) == {"a", "b"}
    second.offer(world.batch(second, "a", round=1, model=model))
    assert devices["a"].take().work_key == key


def test_work_outlives_a_restart_of_the_server(tmp_path: Path, database_url: str | None) -> None:
    with managing(tmp_path, database_url) as world:
        world.task()
        devices = world.ready_devices("a", "b", "c")
        run, engine = world.running()
        made = world.begin(engine, 1, "a", "b", "c", model=_model_of(world, engine))
        for device in devices.values():
            device.take()
        devices["a"].deliver(made["a"], RESULT)
        devices["c"].poll()
        engine.cancel(c.CancelRequest(ids=[made["c"]], reason="not wanted"))
    with managing(tmp_path, database_url, now=1_000_010.0) as again:
        devices = {name: again.again(device) for name, device in devices.items()}
        assert again.operator.device("b").online  # an interval's grace
        assert devices["a"].poll().forget == [made["a"]]
        assert devices["b"].poll().offers == []
        assert [one.id for one in devices["c"].poll().cancel] == [made["c"]]
        devices["b"].deliver(made["b"], RESULT)
        _lose(again, run.id)
        _, second = again.open_attempt(run.id)
        spec = second.hello(c.EngineHello(pid=2))
        assert spec.open_round is not None
        got = {d.device: d.status for d in _collect(second).deliveries}
        assert got == {"a": A.UPLOADED, "b": A.UPLOADED, "c": A.EXPIRED}


# --- sharing, presence, revocation -----------------------------------------------------------


def test_runs_of_different_tasks_share_devices(world: World) -> None:
    world.task("one")
    world.task("two")
    _, a = world.join("a")
    a.poll(idle("one").model_copy(update={"tasks": ["one", "two"]}))
    first, engine = world.running("one")
    second, other = world.running("two")
    made = world.begin(engine, 1, "a")
    (found,) = other.candidates().candidates
    assert (found.unavailable, found.busy_with) == (None, first.id)
    both = world.begin(other, 1, "a")
    assert {offer.run_id for offer in a.poll(wait=2).offers} == {first.id, second.id}
    for id_ in (made["a"], both["a"]):
        a.instruction(id_)
        a.held.append(id_)
    a.progress(made["a"], c.Progress(stage=c.Stage.DOWNLOADING, done=43, total=100))
    world.clock.advance(1)
    world.step()
    other.progress(c.EngineProgress(phase="training", round=1, selected=["a"]))
    engine.progress(c.EngineProgress(phase="training", round=1, selected=["a"]))
    text = f"a: works for run {first.id} of task 'one' first"
    assert text in world.operator.run(second.id).why
    assert "0 of 1 replied; a: downloading 43 % of 100 B" in world.operator.run(first.id).why
    assert world.operator.device("a").why == (
        f"online; downloading 43 % of 100 B in round 1 of run {first.id}"
    )


def test_an_engine_hears_of_devices_that_go_and_come(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    world.begin(engine, 1, "a")
    devices["a"].take()
    world.clock.advance(9)
    world.step()
    got = _collect(engine)
    assert [(p.device, p.gone) for p in got.presence] == [("a", "offline, no call for 9 s")]
    devices["a"].poll()
    got = _collect(engine, got.sequence)
    assert [(p.device, p.gone) for p in got.presence] == [("a", None)]
    began = time.monotonic()
    with later(0.2, devices["b"].poll):
        assert _collect(engine, got.sequence, 5).presence == []  # b is ready again: look anew
    assert time.monotonic() - began < 2


def test_a_revoked_device_is_out_at_once(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    made = world.begin(engine, 1, "a", "b")
    devices["a"].take()
    world.operator.decide_device("a", "revoke")
    for call in (
        lambda: devices["a"].poll(),
        lambda: devices["a"].deliver(made["a"], RESULT),
        lambda: devices["a"].me(),
    ):
        with pytest.raises(Forbidden, match="device 'a' was revoked"):
            call()
    devices["b"].take()
    devices["b"].deliver(made["b"], RESULT)
    world.operator.decide_device("b", "revoke")
    found = {d.device: (d.status, d.reason) for d in _collect(engine).deliveries}
    assert found["a"] == (A.CANCELLED, "device revoked")
    assert _row(world, made["b"]).status is A.REJECTED
    assert _row(world, made["a"]).released_at is not None
    assert [d.reason for d in _collect(engine).deliveries if d.device == "b"][
        -1
    ] == "device revoked"


def test_what_a_revoked_device_delivered_counts_only_in_rounds_that_are_committed(
    world: World,
) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    model = ""
    for number in (1, 2):
        model = world.operator.rounds(run.id)[-1].model or "" if model else _model_of(world, engine)
        made = world.begin(engine, number, "a", "b", model=model)
        for name, device in devices.items():
            device.held = []
            device.take()
            device.deliver(made[name], RESULT)
        _collect(engine, 0, 0, checked=list(made.values()))
        if number == 1:
            engine.commit(world.commit(engine, 1, "a", "b"))
    after = _collect(engine, 0, 0).sequence
    world.operator.decide_device("a", "revoke")
    told = _collect(engine, after).deliveries
    assert [(d.id, d.status, d.reason) for d in told] == [(made["a"], A.REJECTED, "device revoked")]
    assert _status(world, made["a"]) is A.CHECKED
    _lose(world, run.id)
    _, second = world.open_attempt(run.id)
    spec = second.hello(c.EngineHello(pid=2))
    assert spec.open_round is not None
    assert [one.device for one in spec.open_round.assignments] == ["b"]
    assert [d.device for d in _collect(second).deliveries] == ["b"]
    second.commit(world.commit(second, 2, "b"))
    parts = {
        p.device: (p.status, p.reason) for p in world.operator.rounds(run.id)[-1].participations
    }
    assert parts["a"] == (ParticipationStatus.DROPPED, "the device is revoked")


# --- what is kept ----------------------------------------------------------------------------


def test_small_results_are_given_up_two_rounds_later(world: World) -> None:
    world.task(overrides=["num_rounds=4"])
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    ids = []
    for number in range(1, 5):
        made = world.begin(engine, number, "a")
        a.held = []
        a.take()
        a.deliver(made["a"], RESULT)
        _collect(engine, 0, 0, checked=[made["a"]])
        engine.commit(world.commit(engine, number, "a"))
        ids.append(made["a"])
        world.clock.advance(6)
        world.step()
    assert [_row(world, id_).inline is None for id_ in ids] == [True, True, False, False]
    engine.finish(c.EngineFinish(outcome="completed"))
    world.clock.advance(31 * 86_400)
    for _ in range(2):
        world.clock.advance(6)
        world.step()
    with world.manager.services.db.read() as session:
        assert session.query(AssignmentRow).count() == 0


@pytest.mark.parametrize("by", ["engine", "revocation"])
def test_the_file_of_a_rejected_result_is_given_up(world: World, by: str) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    made = world.begin(engine, 1, "a")
    a.take()
    data = bytes(range(256)) * 400
    assert a.slot(made["a"], c.SlotRequest(size=len(data))).granted
    assert _upload(world, a, made["a"], data).status_code == 201
    if by == "engine":
        _collect(engine, 0, 0, rejected={made["a"]: "it has a NaN"})
    else:
        world.operator.decide_device("a", "revoke")
    assert _status(world, made["a"]) is A.REJECTED
    for _ in range(2):
        world.clock.advance(6)
        world.step()
    assert _row(world, made["a"]).pruned_at is not None
    with pytest.raises(NotFound):
        world.manager.services.artifacts.path(hashlib.sha256(data).hexdigest())


# --- files -----------------------------------------------------------------------------------


def _upload(
    world: World, device: Device, id_: str, data: bytes, cut: int | None = None
) -> httpx.Response:
    """Upload a result in one call; ``cut``: only so much of it."""
    fields = {"assignment": id_, "sha256": hashlib.sha256(data).hexdigest()}
    coded = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())
    headers = {
        "authorization": f"Bearer {device.token}",
        "fedops-protocol": "1",
        "tus-resumable": "1.0.0",
        "content-type": "application/offset+octet-stream",
        "upload-length": str(len(data)),
        "upload-metadata": ",".join(coded),
    }
    url = f"{world.url}/api/v1/blobs"
    return httpx.post(url, headers=headers, content=data[:cut], timeout=60)


def _unfinished(world: World) -> list[str]:
    return world.manager.services.artifacts.unfinished()


def test_a_device_reads_what_its_work_names_and_uploads_the_result(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    model = engine.upload(world.model(3.0))
    made = world.begin(engine, 1, "a", model=model.sha256)
    id_ = devices["a"].take().id
    url = f"{world.url}/api/v1/blobs/{model.sha256}"
    version = {"fedops-protocol": "1"}
    for name, status in (("a", 200), ("b", 404)):
        headers = {**version, "authorization": f"Bearer {devices[name].token}"}
        assert httpx.get(url, headers=headers, timeout=60).status_code == status
    data = bytes(range(256)) * 400
    assert _upload(world, devices["b"], id_, data).status_code == 404
    assert devices["a"].slot(id_, c.SlotRequest(size=len(data))).granted
    answer = _upload(world, devices["a"], id_, data)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(data)))
    assert _status(world, made["a"]) is A.UPLOADED
    (delivery,) = _collect(engine).deliveries
    assert delivery.blob == c.BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    assert world.manager.services.artifacts.path(delivery.blob.sha256).read_bytes() == data
    headers = {**version, "authorization": f"Bearer {devices['a'].token}"}
    assert httpx.get(url, headers=headers, timeout=60).status_code == 404  # the work is over


@pytest.mark.parametrize("call", ["work", "download", "upload"])
def test_a_token_is_not_looked_up_where_all_calls_wait_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    model = _model_of(world, engine)
    world.begin(engine, 1, "a", model=model)
    instruction = a.take()
    tokens = world.manager.services.token_cache
    looks: list[str] = []
    look_up = tokens.look_up

    def noted(secret: str) -> Principal:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        looks.append(secret)
        return look_up(secret)

    monkeypatch.setattr(tokens, "look_up", noted)
    tokens.clear()
    if call == "work":
        a.poll()
    elif call == "download":
        headers = {"fedops-protocol": "1", "authorization": f"Bearer {a.token}"}
        url = f"{world.url}/api/v1/blobs/{model}"
        assert httpx.get(url, headers=headers, timeout=60).status_code == 200
    else:
        assert _upload(world, a, instruction.id, b"x" * 300).status_code == 201
    assert looks == [a.token]


def test_an_upload_is_bounded_by_what_the_run_takes(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a", max_bytes=100)
    id_ = a.take().id
    assert _upload(world, a, id_, b"x" * 101).status_code == 413
    assert _upload(world, a, id_, b"x" * 100).status_code == 201


def test_a_revocation_in_mid_upload_leaves_nothing(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    world.begin(engine, 1, "a")
    id_ = a.take().id
    _upload(world, a, id_, b"x" * 100_000, cut=50_000)
    assert len(_unfinished(world)) == 1
    world.operator.decide_device("a", "revoke")
    assert _upload(world, a, id_, b"x" * 100_000).status_code == 403
    for _ in range(100):
        if not _unfinished(world):
            return
        time.sleep(0.02)
    pytest.fail("the unfinished upload was kept")


def test_results_are_removed_two_rounds_later_and_files_that_nobody_wants_after_an_hour(
    world: World,
) -> None:
    world.task(overrides=["num_rounds=3"])
    a = world.ready_devices("a")["a"]
    _, engine = world.running()
    store = world.manager.services.artifacts
    unwanted = engine.upload(world.model(77.0)).sha256
    found = []
    for number in range(1, 4):
        world.begin(engine, number, "a")
        a.held = []
        id_ = a.take().id
        _upload(world, a, id_, bytes([number]) * 1_000)
        found.append(_collect(engine).deliveries[-1].blob)
        engine.commit(world.commit(engine, number, "a"))
    world.clock.advance(6)
    for _ in range(2):
        world.step()
    assert [store.exists(blob.sha256) for blob in found if blob] == [False, True, True]
    assert store.exists(unwanted)
    world.clock.advance(3_601)
    for _ in range(2):
        world.step()
    assert not store.exists(unwanted)
    assert store.exists(found[2].sha256 if found[2] else "")


def test_an_engine_hands_files_of_its_spool_over(world: World) -> None:
    world.task()
    run, engine = world.running()
    folder = world.manager.services.settings.home / "spool" / f"run-{run.id}" / "attempt-1"
    folder.mkdir(parents=True, exist_ok=True)
    file = world.model(9.0)
    (folder / "model").write_bytes(file.read_bytes())
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    ref = engine.hand_over(c.BlobHandover(name="model", sha256=sha256))
    assert ref == c.BlobRef(sha256=sha256, size=file.stat().st_size)
    assert engine.hand_over(c.BlobHandover(name="model", sha256=sha256)) == ref
    with pytest.raises(Invalid, match="was announced"):
        engine.hand_over(c.BlobHandover(name="model", sha256="0" * 64))
    with pytest.raises(NotFound, match="no file other"):
        engine.hand_over(c.BlobHandover(name="other", sha256=sha256))


# --- states ----------------------------------------------------------------------------------


def test_an_assignment_goes_only_where_its_states_allow(world: World) -> None:
    world.task()
    world.ready_devices("a")
    _, engine = world.running()
    id_ = world.begin(engine, 1, "a")["a"]
    one = [AssignmentRow.id == id_]
    for before, after in ASSIGNMENT_TRANSITIONS.items():
        for new in A:
            with world.manager.services.db.write() as session:
                session.get_one(AssignmentRow, id_).status = before
                session.flush()
                moved = assignments.move_assignments(session, new, one)
                assert bool(moved) is (new in after), (before, new)
                assert session.get_one(AssignmentRow, id_).status is (new if moved else before)


def test_of_a_delivery_and_an_end_at_the_same_moment_one_counts(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "c", "d")
    _, engine = world.running()
    made = world.begin(engine, 1, *devices)
    told: dict[str, bool] = {}

    def deliver(name: str) -> None:
        try:
            devices[name].deliver(made[name], RESULT)
            told[name] = True
        except Conflict:
            told[name] = False

    threads = [threading.Thread(target=deliver, args=(name,)) for name in devices]
    for thread in threads:
        thread.start()
    engine.cancel(c.CancelRequest(ids=list(made.values()), reason="enough"))
    for thread in threads:
        thread.join()
    for name, id_ in made.items():
        # Who was told that it is delivered may find it given up afterwards, but never the other way round.
        assert told[name] or _status(world, id_) is A.EXPIRED
        assert _status(world, id_) in (A.UPLOADED, A.EXPIRED)
    statuses: dict[str, list[A]] = {}
    for delivery in _collect(engine).deliveries:
        statuses.setdefault(delivery.device, []).append(delivery.status)
    assert set(statuses) == set(devices)
    assert all(found[-1] is A.EXPIRED for found in statuses.values() if A.EXPIRED in found)
