"""What follows from findings: in rounds, in rounds that another attempt does, and in versions made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from managing import World, managing
from real_rounds import NAMES, play, training
from table_scorer import TableScorer

from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.core.errors import AttemptSuperseded
from fedops.core.states import RunStatus
from fedops.server.runs import attempts
from fedops.storage.tensors import load

ROUNDS = 4
PARROT = NAMES[1]
Prepare = Callable[[EngineClient], None]


def settings(policy: str) -> dict[str, Any]:
    return {
        "server": {
            "contribution": {"method": "auto", "policy": policy},
            "round": {"start_grace_seconds": 0.01},
        },
        "num_rounds": ROUNDS,
    }


@contextmanager
def federation(folder: Path, policy: str) -> Iterator[World]:
    folder.mkdir()
    overrides = [
        "server.contribution.method=auto",
        f"server.contribution.policy={policy}",
        f"num_rounds={ROUNDS}",
        "clients_per_round=3",
    ]
    with managing(folder) as world:
        world.task(overrides=overrides)
        with training(world, *NAMES):
            yield world


def scorer() -> TableScorer:
    return TableScorer(dict.fromkeys(NAMES, 0.1), replaying=[PARROT])


def complete(world: World, policy: str, *prepared: Prepare) -> int:
    """Play a run of the task to its end; returns its id."""
    run_id = world.operator.start_run("mnist", c.RunStart()).id
    play(world, run_id, *prepared, scorer=scorer(), **settings(policy))
    assert world.operator.run(run_id).status is RunStatus.COMPLETED
    return run_id


def taking_part(world: World, run_id: int) -> list[list[str]]:
    rounds = sorted(world.operator.rounds(run_id), key=lambda one: one.round)
    return [sorted(p.device for p in one.participations) for one in rounds]


def model(world: World, version: int) -> dict[str, bytes]:
    file = world.operator.download_model("mnist", f"V{version}", world.folder / f"V{version}")
    return {name: array.tobytes() for name, array in load(file).items()}


def ended_before(number: int) -> Prepare:
    """An attempt that another one supersedes when the clients of this round are chosen and asked."""

    def prepare(api: EngineClient) -> None:
        begin_round = api.begin_round

        def then_end(round_: int, body: c.RoundBegin) -> c.Offered:
            found = begin_round(round_, body)
            if round_ == number:
                raise AttemptSuperseded("the test wants another attempt")
            return found

        api.begin_round = then_end  # type: ignore[method-assign]

    return prepare


def test_who_was_found_out_takes_no_part_two_rounds_later(tmp_path: Path) -> None:
    with federation(tmp_path / "a", "exclude") as world:
        run_id = complete(world, "exclude")
        honest = sorted({*NAMES} - {PARROT})
        assert taking_part(world, run_id) == [NAMES, NAMES, honest, honest]
        (third,) = world.operator.selections(run_id, 3)
        reasons = {one.device: one.reason for one in third.decisions if not one.chosen}
        assert reasons == {PARROT: "not available: excluded: replay, it is the last change"}


@pytest.mark.parametrize("number", [2, 3])
def test_another_attempt_leaves_out_the_same(tmp_path: Path, number: int) -> None:
    with federation(tmp_path / "a", "exclude") as world:
        run_id = world.operator.start_run("mnist", c.RunStart()).id
        play(world, run_id, ended_before(number), scorer(), **settings("exclude"))
        with world.manager.services.db.write() as session:
            attempts.mark_lost(session, 1, "its process died", world.clock())
        play(world, run_id, scorer=scorer(), **settings("exclude"))
        assert world.operator.run(run_id).status is RunStatus.COMPLETED
        honest = sorted({*NAMES} - {PARROT})
        assert taking_part(world, run_id) == [NAMES, NAMES, honest, honest]


def test_a_version_made_again_weighs_as_its_run_did(tmp_path: Path) -> None:
    """The last round without a device: once as it happened, once made afterwards."""

    def gone_before_the_last_round(world: World) -> Prepare:
        def prepare(api: EngineClient) -> None:
            commit = api.commit

            def then_quarantine(body: c.RoundCommit) -> c.CommitReply:
                reply = commit(body)
                if body.round == ROUNDS - 1:
                    world.operator.quarantine_device(NAMES[2], "a doubt", keep_versions=True)
                return reply

            api.commit = then_quarantine  # type: ignore[method-assign]

        return prepare

    with federation(tmp_path / "happened", "downweight") as world:
        complete(world, "downweight", gone_before_the_last_round(world))
        expected = model(world, 1)
    with federation(tmp_path / "reported", "report") as world:
        complete(world, "report", gone_before_the_last_round(world))
        assert model(world, 1) != expected
    with federation(tmp_path / "made", "downweight") as world:
        complete(world, "downweight")
        assert model(world, 1) != expected
        world.operator.quarantine_device(NAMES[2], "a doubt")
        made = world.operator.rebuild_model("mnist", "V1", without=NAMES[2], last_round=True)
        play(world, made.run.id, scorer=scorer(), **settings("downweight"))
        version = world.operator.run(made.run.id).version
        assert version is not None
        assert model(world, version) == expected
