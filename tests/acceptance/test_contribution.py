"""Contribution and selection in a live run: who cheats is found out, and scores decide who is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from federating import QUIET, part_of, until

from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation
from fedops.failpoints import VARIABLE

DIGITS = Path(__file__).parent / "apps" / "digits"
NAMES = ("a", "b", "c", "d", "noisy", "parrot")
THREE = ("a", "b", "noisy")
CHEATS = {"noisy": "noise", "parrot": "replay"}


def start_devices(federation: Federation, names: Sequence[str], *tasks: str) -> None:
    for name in names:
        federation.join(name)
        federation.start_client(
            name,
            DIGITS,
            *tasks,
            overrides=part_of(names, name),
            DIGITS_CHEAT=CHEATS.get(name, ""),
        )
    federation.until_ready(names, seconds=180.0)


def test_who_cheats_is_found_out_within_five_rounds(tmp_path: Path) -> None:
    with Federation(tmp_path, QUIET) as federation:
        federation.start_server()
        federation.create_task("digits", DIGITS)
        start_devices(federation, NAMES, "digits")
        with federation.operator() as operator:
            run = operator.start_run("digits", c.RunStart())
            until(federation, run.id, RunStatus.COMPLETED, seconds=120.0)
            rounds = operator.contributions(run.id)
            found = {one.device: one for one in operator.task_contributions("digits").clients}
        assert [one.round for one in rounds] == [5, 4, 3, 2, 1]
        assert {one.method for one in rounds} == {"shapley"}
        assert {one.evaluations for one in rounds} == {64}
        assert {name: [f.kind for f in one.findings] for name, one in found.items()} == {
            **{key: [] for key in "abcd"},
            "noisy": ["noise"],
            "parrot": ["replay"],
        }
        assert all(found[name].value > found["noisy"].value for name in "abcd")


BY_CLIENTS = [
    "server.contribution.utility=clients",
    "server.contribution.max_evaluations=4",
    "clients_per_round=3",
    "num_rounds=2",
]
OFFERED = "engine.evaluations.offered"


def values(federation: Federation, run_id: int) -> list[dict[str, float | None]]:
    """What each client was worth, round by round."""
    with federation.operator() as operator:
        rounds = operator.contributions(run_id)
    assert [(one.round, one.method) for one in rounds] == [(n, "leave_one_out") for n in (2, 1)]
    return [{one.device: one.value for one in found.scores} for found in rounds]


@pytest.mark.long
def test_clients_value_each_other_and_a_killed_server_changes_no_value(tmp_path: Path) -> None:
    board = tmp_path / "failpoints"
    board.mkdir()
    with Federation(tmp_path, {**QUIET, VARIABLE: str(board)}) as federation:
        federation.start_server()
        federation.create_task("digits", DIGITS)
        start_devices(federation, THREE, "digits")
        with federation.operator() as operator:
            first = operator.start_run("digits", c.RunStart(overrides=BY_CLIENTS))
            until(federation, first.id, RunStatus.COMPLETED, seconds=90.0)
            passes = (board / OFFERED).stat().st_size
            # two of the four models of round 1 are offered
            (board / f"{OFFERED}.armed").write_text(f"kill@{passes + 2}")
            second = operator.start_run("digits", c.RunStart(overrides=BY_CLIENTS, from_version=0))
            until(federation, second.id, RunStatus.COMPLETED, seconds=90.0)
            runs = [first.id, second.id]
            assert (board / f"{OFFERED}.fired").exists()
            assert [len(operator.run(run_id).attempts) for run_id in runs] == [1, 2]
        whole, broken = (values(federation, run_id) for run_id in runs)
        assert broken == whole
        for found in whole:
            assert min(found, key=lambda name: found[name] or 0.0) == "noisy"
