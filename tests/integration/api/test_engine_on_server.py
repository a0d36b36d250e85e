"""The round engine on a real Server Manager, with clients that really train."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from line_model import plain_rounds
from managing import World
from real_rounds import NAMES, ROUNDS, Client, play, training

from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.core.errors import AttemptSuperseded
from fedops.core.states import ParticipationStatus, RunStatus
from fedops.server.runs import attempts
from fedops.storage.tensors import load
from fedops.trainer.local_round import LocalUpdate


@pytest.fixture
def clients(world: World) -> Iterator[list[Client]]:
    world.task(overrides=[f"num_rounds={ROUNDS}", "clients_per_round=3"])
    with training(world, *NAMES) as made:
        yield made


def check(world: World, run_id: int, seed: int) -> None:
    run = world.operator.run(run_id)
    assert run.status is RunStatus.COMPLETED, run.why
    file = world.operator.download_model("mnist", f"V{run.version}", world.folder / "model")
    expected = plain_rounds(NAMES, ROUNDS, seed=seed)[-1]
    assert {k: a.tobytes() for k, a in load(file).items()} == {
        k: a.tobytes() for k, a in expected.items()
    }


def test_rounds_equal_a_plain_loop_bit_for_bit(world: World, clients: list[Client]) -> None:
    run = world.operator.start_run("mnist", c.RunStart())
    spec = play(world, run.id)
    check(world, run.id, spec.seed)
    assert all(len(client.trained) == ROUNDS + 1 for client in clients)


@pytest.mark.parametrize("collected", [0, 1, 2, 4])
def test_the_next_attempt_goes_on_and_nobody_trains_twice(
    world: World, clients: list[Client], collected: int
) -> None:
    run = world.operator.start_run("mnist", c.RunStart())

    def dying(api: EngineClient) -> None:
        collect, seen = api.collect, [0]

        def counted(body: c.CollectRequest) -> c.Collected:
            if seen[0] >= collected:
                raise AttemptSuperseded("killed")
            found = collect(body)
            seen[0] += len(found.deliveries)
            return found

        api.collect = counted  # type: ignore[method-assign]

    play(world, run.id, dying)
    with world.manager.services.db.write() as session:
        for attempt in attempts.live_attempts(session, world.manager.services.settings):
            attempts.mark_lost(session, attempt.attempt_id, "killed", world.clock())
    spec = play(world, run.id)
    assert spec.open_round is not None
    check(world, run.id, spec.seed)
    assert all(len(client.trained) == len(set(client.trained)) for client in clients)
    assert all(len(client.trained) == ROUNDS + 1 for client in clients)


def test_a_device_that_is_revoked_while_its_update_is_aggregated_is_not_in_the_round(
    world: World, clients: list[Client]
) -> None:
    run = world.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=1"]))

    def revoking(api: EngineClient) -> None:
        commit = api.commit

        def too_late(body: c.RoundCommit) -> c.CommitReply:
            clients[1].end()
            world.operator.decide_device("pi-2", "revoke")
            return commit(body)

        api.commit = too_late  # type: ignore[method-assign]

    play(world, run.id, revoking)
    assert world.operator.run(run.id).committed_rounds == 0
    with world.manager.services.db.write() as session:
        for each in attempts.live_attempts(session, world.manager.services.settings):
            attempts.mark_lost(session, each.attempt_id, "superseded", world.clock())
    trained = [list(client.trained) for client in clients]
    play(world, run.id)
    (first,) = world.operator.rounds(run.id)
    replied = {p.device for p in first.participations if p.status is ParticipationStatus.REPLIED}
    assert replied == {"pi-1", "pi-3"}
    assert [
        client.trained[: len(before)] for client, before in zip(clients, trained, strict=True)
    ] == trained
    assert all(len(client.trained) == len(set(client.trained)) for client in clients)


def test_a_model_that_one_device_blew_up_is_quarantined_though_its_loss_is_left_out(
    world: World, clients: list[Client]
) -> None:
    """A loss beyond what a reply may hold does not come in: that it is missing says enough."""
    honest = clients[2]._trainer

    def blown_up(*given: Any) -> LocalUpdate:
        update = honest(*given)
        if update.tensors is None:
            return update
        return replace(update, tensors={**update.tensors, "b": np.float32(1e37)})

    clients[2]._trainer = blown_up  # type: ignore[assignment]
    overrides = ["num_rounds=1", "server.limits.max_norm_ratio=0"]
    run = world.operator.start_run("mnist", c.RunStart(overrides=overrides))
    play(world, run.id, num_rounds=1, server={"limits": {"max_norm_ratio": 0.0}})
    made = world.operator.run(run.id)
    assert made.quarantine == (
        "it was evaluated and has no loss, which V0 has: it was too large, infinite or not a number"
    )
    assert made.metrics.keys() == {"loss"}, "that of V0, which it began from"
    assert world.operator.task("mnist").latest_version is None
