"""A version made again without a device: the same bits as if the device had not been there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from line_model import plain_rounds
from managing import World
from real_rounds import NAMES, Client, play, training
from sqlalchemy import select

from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, NotFound, RunBusy
from fedops.core.states import Enrolment, ParticipationStatus, RunStatus
from fedops.server.database.tables import AssignmentRow, RoundRow
from fedops.server.rounds import update_retention
from fedops.server.runs import attempts
from fedops.storage.tensors import load

#: A strategy that remembers, and rounds that do not wait for devices that are gone.
ADAM: dict[str, Any] = {
    "server": {
        "strategy": {"_target_": "FedAdam", "eta": 0.1},
        "round": {"start_grace_seconds": 0.01},
    }
}
ADAM_OVERRIDES = ["server.strategy._target_=FedAdam", "server.strategy.eta=0.1"]


@pytest.fixture
def clients(world: World) -> Iterator[list[Client]]:
    world.task(overrides=["clients_per_round=3"])
    with training(world, *NAMES) as made:
        yield made


def _complete(
    world: World, run_id: int, *prepared: Callable[[EngineClient], None], **more: Any
) -> int:
    """Play a run to its end; returns the version that it made."""
    play(world, run_id, *prepared, **more)
    run = world.operator.run(run_id)
    assert run.status is RunStatus.COMPLETED, run.why
    assert run.version is not None
    return run.version


def _run(
    world: World, rounds: int, *prepared: Callable[[EngineClient], None], adam: bool = False
) -> int:
    overrides = [f"num_rounds={rounds}", *(ADAM_OVERRIDES if adam else [])]
    run = world.operator.start_run("mnist", c.RunStart(overrides=overrides, from_version=None))
    more = {"num_rounds": rounds, **(ADAM if adam else {})}
    return _complete(world, run.id, *prepared, **more)


def _bytes(world: World, version: int) -> dict[str, bytes]:
    file = world.operator.download_model("mnist", f"V{version}", world.folder / f"V{version}")
    return {name: array.tobytes() for name, array in load(file).items()}


def _trained(clients: list[Client]) -> list[int]:
    return [sum(kind == "train" for kind, _ in client.trained) for client in clients]


def test_the_last_round_is_aggregated_again_without_it_and_nobody_trains(
    world: World, clients: list[Client]
) -> None:
    operator = world.operator
    _run(world, 1)
    operator.quarantine_device("pi-3", "its sensor is broken")
    assert operator.task("mnist").latest_version is None
    found = operator.rebuild_model("mnist", "V1", without="pi-3")
    assert found.aggregates_again
    assert found.how == (
        "aggregates round 1 of run 1 again of the kept updates of 2 devices, without pi-3"
    )
    made = _complete(world, found.run.id)
    expected = plain_rounds(NAMES[:2], 1, seed=7)[-1]
    assert _bytes(world, made) == {name: array.tobytes() for name, array in expected.items()}
    assert _bytes(world, made) != _bytes(world, 1)
    assert _trained(clients) == [1, 1, 1]
    (round_,) = operator.rounds(found.run.id)
    assert [p.device for p in round_.participations] == ["pi-1", "pi-2"]
    assert {p.status for p in round_.participations} == {ParticipationStatus.REPLIED}
    model = operator.model("mnist", "latest")
    assert (model.version, model.parent, model.quarantine) == (made, 0, None)
    assert model.lineage["rebuilds"] == {"version": 1, "of_run": 1, "without": ["pi-3"]}
    assert [t.version for t in operator.touched("pi-3").touched] == [1]


def test_with_the_strategys_memory_it_is_the_round_that_would_have_been(
    world: World, clients: list[Client]
) -> None:
    """Rounds 1 and 2 with all, the third without pi-3: once as it happened, once made afterwards."""
    operator = world.operator

    def without_pi_3_from_round_3(api: EngineClient) -> None:
        commit = api.commit

        def then_quarantine(body: c.RoundCommit) -> c.CommitReply:
            reply = commit(body)
            if body.round == 2:
                operator.quarantine_device("pi-3", "a doubt", keep_versions=True)
            return reply

        api.commit = then_quarantine  # type: ignore[method-assign]

    happened = _run(world, 3, without_pi_3_from_round_3, adam=True)
    operator.release_device("pi-3", "to see the other case")
    operator.quarantine_model("mnist", f"V{happened}", "the next run is to start from V0 too")
    spoiled = _run(world, 3, adam=True)
    assert _bytes(world, spoiled) != _bytes(world, happened)
    before = _trained(clients)
    found = operator.rebuild_model("mnist", f"V{spoiled}", without="pi-3", last_round=True)
    assert found.how.endswith("; updates of pi-3 stay in it by rounds 1, 2 of run 2")
    made = _complete(world, found.run.id, num_rounds=3, **ADAM)
    assert _bytes(world, made) == _bytes(world, happened)
    assert _trained(clients) == before
    touched = {t.version: (t.rounds, t.began_from) for t in operator.touched("pi-3").touched}
    assert touched[made] == ([], "run 2")


@pytest.mark.usefixtures("clients")
def test_a_run_trains_anew_when_its_updates_are_in_earlier_rounds_too(world: World) -> None:
    operator = world.operator
    _run(world, 2)
    _run(world, 2)
    operator.quarantine_device("pi-3", "a doubt")
    found = operator.rebuild_model("mnist", "V2", without="pi-3")
    assert not found.aggregates_again
    assert found.how == (
        "trains anew from V0, the last version without updates of pi-3: its updates are in round 1 of run 2"
        " and V1 too, and would stay in it"
    )
    assert (found.run.from_version, found.run.parent) == (0, None)
    with pytest.raises(RunBusy):
        operator.rebuild_model("mnist", "V2", without="pi-3")
    _, api = world.open_attempt(found.run.id)
    left_out = {"pi-3": "left out: V2 is made again without it"}
    assert api.hello(c.EngineHello(pid=1)).refused == left_out
    operator.release_device("pi-3", "no longer in doubt")
    operator.stop_run(found.run.id)
    api.finish(c.EngineFinish(outcome="stopped"))
    retried = operator.retry_run(found.run.id)
    _, api = world.open_attempt(retried.id)
    spec = api.hello(c.EngineHello(pid=1))
    assert (spec.refused, spec.replays) == (left_out, None)
    operator.stop_run(retried.id)
    api.finish(c.EngineFinish(outcome="stopped"))
    operator.rename_device("pi-3", c.DeviceRename(name="ward-7"))
    _, api = world.open_attempt(operator.retry_run(retried.id).id)
    assert list(api.hello(c.EngineHello(pid=1)).refused) == ["ward-7"]


@pytest.mark.usefixtures("clients")
def test_a_run_trains_anew_when_the_updates_are_not_kept_any_more(world: World) -> None:
    operator, services = world.operator, world.manager.services
    _run(world, 1)
    _run(world, 1)
    with services.db.write() as session:
        update_retention.give_up_updates(session, services.settings, world.clock())
    found = operator.rebuild_model("mnist", "V1", without="pi-3")
    assert not found.aggregates_again
    assert "the updates of round 1 of run 1 are not kept any more (pi-1)" in found.how
    operator.stop_run(found.run.id)
    with pytest.raises(Conflict, match=r"cannot be aggregated again: the updates .* are not kept"):
        operator.rebuild_model("mnist", "V1", without="pi-3", last_round=True)


def test_a_round_that_would_not_have_counted_is_not_made(
    world: World, clients: list[Client]
) -> None:
    operator = world.operator
    _run(world, 1)
    clients[1].end()
    operator.decide_device("pi-2", "revoke")
    found = operator.rebuild_model("mnist", "V1", without="pi-3")
    assert "without it the round has 1 update, and it counts with 2" in found.how


@pytest.mark.usefixtures("clients")
def test_who_is_not_trusted_any_more_is_left_out_too(world: World) -> None:
    body = c.RunStart(overrides=["num_rounds=1", "server.round.min_replies=1"])
    _complete(world, world.operator.start_run("mnist", body).id)
    world.operator.quarantine_device("pi-2", "a doubt", keep_versions=True)
    found = world.operator.rebuild_model("mnist", "V1", without="pi-3")
    assert found.aggregates_again
    assert "without pi-3 and without pi-2 (not trusted or not enrolled any more)" in found.how


@pytest.mark.usefixtures("clients")
def test_what_cannot_be_made_again(world: World) -> None:
    operator = world.operator
    _run(world, 1)
    world.join("late")
    for version, device in (("V1", "late"), ("V0", "pi-1")):
        text = f"no update of device '{device}' is in {version} of task 'mnist'"
        with pytest.raises(Conflict, match=text):
            operator.rebuild_model("mnist", version, without=device)
    with pytest.raises(NotFound):
        operator.rebuild_model("mnist", "V1", without="nobody")
    assert operator.device("pi-3").enrolment is Enrolment.APPROVED, "it need not be quarantined"
    assert operator.rebuild_model("mnist", "V1", without="pi-3").aggregates_again


@pytest.mark.usefixtures("clients")
def test_what_took_no_training_tells_nothing_of_the_time_of_the_next_run(world: World) -> None:
    _run(world, 1)
    found = world.operator.rebuild_model("mnist", "V1", without="pi-3")
    _complete(world, found.run.id)
    assert world.operator.forecast_run("mnist", c.RunStart()).measured_run == 1


@pytest.mark.usefixtures("clients")
def test_an_attempt_that_dies_is_followed_by_one_that_does_the_same(world: World) -> None:
    _run(world, 1)
    found = world.operator.rebuild_model("mnist", "V1", without="pi-3")
    attempt_id, api = world.open_attempt(found.run.id)
    spec = api.hello(c.EngineHello(pid=1))
    assert (spec.replays, spec.next_round, spec.rounds) == (1, 1, 1)
    assert spec.open_round is not None
    assert sorted(spec.open_round.selected) == ["pi-1", "pi-2"]
    with world.manager.services.db.write() as session:
        attempts.mark_lost(session, attempt_id, "killed", world.clock())
    made = _complete(world, found.run.id)
    expected = plain_rounds(NAMES[:2], 1, seed=7)[-1]
    assert _bytes(world, made) == {name: array.tobytes() for name, array in expected.items()}


def test_an_update_that_is_damaged_by_then_ends_the_run_and_nobody_is_asked(
    world: World, clients: list[Client]
) -> None:
    _run(world, 1)
    found = world.operator.rebuild_model("mnist", "V1", without="pi-3")
    with world.manager.services.db.write() as session:
        query = select(AssignmentRow).where(AssignmentRow.run_id == found.run.id)
        session.scalars(query).first().inline = b"not any more"  # type: ignore[union-attr]
    play(world, found.run.id)
    run = world.operator.run(found.run.id)
    assert (run.status, run.version) == (RunStatus.FAILED, None)
    assert "round 1 got 1 of the 2 replies it needs" in run.why
    assert run.why.endswith("; try again with 'fedops model rebuild mnist V1 --without pi-3'")
    with pytest.raises(Conflict, match="fedops model rebuild mnist V1 --without pi-3"):
        world.operator.retry_run(run.id)
    assert _trained(clients) == [1, 1, 1]


@pytest.mark.usefixtures("clients")
def test_who_evaluated_only_is_in_it_and_counts_for_no_quorum(world: World) -> None:
    device = world.ready_devices("pi-4")["pi-4"]
    evaluates = Client(device, "pi-4", 0, world.folder)
    overrides = ["num_rounds=1", "clients_per_round=4", "server.round.min_replies=2"]
    settings = {"num_rounds": 1, "clients_per_round": 4, "server": {"round": {"min_replies": 2}}}
    run = world.operator.start_run("mnist", c.RunStart(overrides=overrides))
    _complete(world, run.id, **settings)
    found = world.operator.rebuild_model("mnist", "V1", without="pi-3")
    assert found.aggregates_again, found.how
    made = _complete(world, found.run.id, **settings)
    expected = plain_rounds(NAMES[:2], 1, seed=7)[-1]
    assert _bytes(world, made) == {name: array.tobytes() for name, array in expected.items()}
    (round_,) = world.operator.rounds(found.run.id)
    took_part = [(p.device, p.examples) for p in round_.participations]
    assert took_part == [("pi-1", 4), ("pi-2", 5), ("pi-4", 0)]
    with pytest.raises(Conflict, match="no update of device 'pi-4' is in V1"):
        world.operator.rebuild_model("mnist", "V1", without="pi-4")
    evaluates.end()
    world.manager.services.let_go()
    evaluates.join()


@pytest.mark.usefixtures("clients")
def test_a_version_that_was_rebuilt_can_be_rebuilt_again(world: World) -> None:
    overrides = ["num_rounds=1", "server.round.min_replies=1"]
    settings = {"num_rounds": 1, "server": {"round": {"min_replies": 1}}}
    run = world.operator.start_run("mnist", c.RunStart(overrides=overrides))
    _complete(world, run.id, **settings)
    first = world.operator.rebuild_model("mnist", "V1", without="pi-3")
    second = _complete(world, first.run.id, **settings)
    again = world.operator.rebuild_model("mnist", f"V{second}", without="pi-2")
    assert again.aggregates_again, again.how
    made = _complete(world, again.run.id, **settings)
    expected = plain_rounds(NAMES[:1], 1, seed=7)[-1]
    assert _bytes(world, made) == {name: array.tobytes() for name, array in expected.items()}


@pytest.mark.usefixtures("clients")
def test_a_round_that_is_not_there_is_not_played_in_its_place(world: World) -> None:
    _run(world, 1)
    found = world.operator.rebuild_model("mnist", "V1", without="pi-3")
    with world.manager.services.db.write() as session:
        session.get_one(RoundRow, (found.run.id, 1)).begun_from = "0" * 64
    play(world, found.run.id)
    why = "round 1 of run 1 is not there to be aggregated again"
    assert why in world.operator.run(found.run.id).why
