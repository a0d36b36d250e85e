"""Work as devices and engines see it: offered, accepted, delivered, ended; over HTTP, on a real database."""

from __future__ import annotations

import base64

from managing import World

from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.core.states import AssignmentStatus as A
from fedops.server.tables import AssignmentRow

RESULT = b"a small payload file"


def _status(world: World, id_: str) -> A:
    with world.manager.services.db.read() as session:
        return session.get_one(AssignmentRow, id_).status


def _collect(
    engine: EngineClient, after: int = 0, wait: float = 5.0, **verdicts: object
) -> c.Collected:
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
    engine.commit(
        world.commit(engine, 1, "a").model_copy(update={"participations": _parts("a", "b")})
    )
    assert _status(world, made["b"]) is A.EXPIRED
    assert _status(world, made["a"]) is A.CHECKED


def _parts(*names: str) -> list[c.ParticipationReport]:
    from managing import replied

    return [replied(name) for name in names]
