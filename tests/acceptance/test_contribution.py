"""Contribution and selection in a live run: who cheats is found out, and scores decide who is asked."""

from __future__ import annotations

from pathlib import Path

from federating import QUIET, part_of, until

from fedops.core import contracts as c
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation

DIGITS = Path(__file__).parent / "apps" / "digits"
NAMES = ("a", "b", "c", "d", "noisy", "parrot")
CHEATS = {"noisy": "noise", "parrot": "replay"}


def start_devices(federation: Federation) -> None:
    for name in NAMES:
        federation.join(name)
        federation.start_client(
            name,
            DIGITS,
            "digits",
            overrides=part_of(NAMES, name),
            DIGITS_CHEAT=CHEATS.get(name, ""),
        )
    federation.until_ready(NAMES, seconds=180.0)


def test_who_cheats_is_found_out_within_five_rounds(tmp_path: Path) -> None:
    with Federation(tmp_path, QUIET) as federation:
        federation.start_server()
        federation.create_task("digits", DIGITS)
        start_devices(federation)
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
