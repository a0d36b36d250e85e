"""The states of an assignment: offered, accepted, delivered, ended; over HTTP, on a real database."""

from __future__ import annotations

import base64
import threading

import pytest
from managing import World, replied
from work_calls import RESULT, collect, row_of, status_of

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import ASSIGNMENT_TRANSITIONS
from fedops.core.states import AssignmentStatus as A
from fedops.server.assignments import assignments
from fedops.server.database.tables import AssignmentRow


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
    assert status_of(world, offer.id) is A.OFFERED
    instruction = a.instruction(offer.id)
    assert instruction.content["records"]["arrays"]["type"] == "array"
    assert instruction.work_key.startswith(f"run-{run.id}-round-1-train-")
    a.held = [offer.id]
    assert a.poll().offers == []
    world.step()
    assert status_of(world, offer.id) is A.ACCEPTED
    a.progress(offer.id, c.Progress(stage=c.Stage.TRAINING, done=1, total=5))
    world.clock.advance(1)
    world.step()
    assert status_of(world, offer.id) is A.WORKING
    a.deliver(offer.id, RESULT)
    a.deliver(offer.id, b"another one: the first counts")
    assert status_of(world, offer.id) is A.UPLOADED
    assert a.poll().forget == [offer.id]
    got = collect(engine)
    (delivery,) = got.deliveries
    assert (delivery.id, delivery.device, delivery.status) == (offer.id, "a", A.UPLOADED)
    assert base64.b64decode(delivery.inline or "") == RESULT
    collect(engine, got.sequence, 0, checked=[offer.id])
    assert status_of(world, offer.id) is A.CHECKED
    a.deliver(offer.id, RESULT)  # the answer was lost: harmless still
    parts = [replied(name) for name in ("a", "b")]
    engine.commit(world.commit(engine, 1, "a").model_copy(update={"participations": parts}))
    assert status_of(world, made["b"]) is A.EXPIRED
    assert status_of(world, made["a"]) is A.CHECKED


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
    (delivery,) = collect(engine).deliveries
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
    assert status_of(world, id_) is A.OFFERED


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
    assert {status_of(world, id_) for id_ in made.values()} <= {A.ACCEPTED, A.WORKING}
    world.clock.advance(1)
    world.step()
    assert status_of(world, made["a"]) is A.EXPIRED
    (cancelled,) = devices["a"].poll().cancel
    assert (cancelled.id, cancelled.reason) == (made["a"], "its deadline passed")
    with pytest.raises(Conflict, match="its deadline passed"):
        devices["a"].deliver(made["a"], RESULT)
    devices["b"].deliver(made["b"], RESULT)
    world.clock.advance(29)
    world.step()
    assert status_of(world, made["c"]) is A.WORKING
    world.clock.advance(1)
    world.step()
    assert status_of(world, made["c"]) is A.EXPIRED
    found = {d.device: d.status for d in collect(engine).deliveries}
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
    assert row_of(world, made["a"]).released_at is None
    assert a.drop(made["a"]).cancel == []
    assert row_of(world, made["a"]).released_at is not None
    with pytest.raises(Invalid, match="give their ids, or a round"):
        engine.cancel(c.CancelRequest(reason="x"))


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
    collect(engine, 0, 0, rejected={taken.id: "it is not finite"})
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
    assert status_of(world, first["a"]) is A.CANCELLED


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
        got = collect(engine, 0)
        collect(engine, got.sequence, 0, checked=[instruction.id])


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
        assert told[name] or status_of(world, id_) is A.EXPIRED
        assert status_of(world, id_) in (A.UPLOADED, A.EXPIRED)
    statuses: dict[str, list[A]] = {}
    for delivery in collect(engine).deliveries:
        statuses.setdefault(delivery.device, []).append(delivery.status)
    assert set(statuses) == set(devices)
    assert all(found[-1] is A.EXPIRED for found in statuses.values() if A.EXPIRED in found)
