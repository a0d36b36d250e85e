"""What several rounds make together, and what follows from it."""

import dataclasses
import json

import pytest
from rounds import LeastSquares

from fedops.algorithms.integrity.findings import Finding
from fedops.algorithms.integrity.integrity_history import (
    AGE,
    MEMORY,
    Integrity,
    JudgedRound,
    integrity_of,
    recent,
    remember,
)
from fedops.algorithms.integrity.judging import Judgement
from fedops.algorithms.integrity.policies import FOUND_FACTOR, apply_policy
from fedops.algorithms.integrity.update_evidence import UpdateEvidence
from fedops.core.errors import Invalid

EVIDENCE = UpdateEvidence(share=0.2, norm=1.0, removal=-0.1)
NULL = Finding("free_rider", "it returned the model as it was")


def judged(*rounds: tuple[float | None, bool]) -> tuple[JudgedRound, ...]:
    """Rounds from 1 on: the score, and whether a free-rider was found."""
    known: tuple[JudgedRound, ...] = ()
    for number, (score, found) in enumerate(rounds, start=1):
        known = remember(known, Judgement(EVIDENCE, score, (NULL,) if found else ()), number)
    return known


def test_nothing_is_known_of_who_never_took_part() -> None:
    assert integrity_of(()) == Integrity(None, 0, ())


def test_the_score_is_the_mean_of_those_there_are() -> None:
    assert integrity_of(judged((-1.0, False), (None, False), (0.5, False))).score == -0.25


def test_once_is_chance_and_twice_is_confirmed() -> None:
    assert integrity_of(judged((-6.0, True), (0.0, False))).findings == ()
    (found,) = integrity_of(judged((-6.0, True), (0.0, False), (-6.0, True))).findings
    assert found == Finding(
        "free_rider", "in 2 of its last 3 rounds; the last time it returned the model as it was"
    )


def test_twice_in_many_rounds_is_chance_again() -> None:
    rounds = [(0.0, False)] * 6
    assert integrity_of(judged(*rounds, (-6.0, True), (-6.0, True))).findings == ()


def test_low_scores_for_long_are_harmful() -> None:
    assert integrity_of(judged((-3.0, False), (-3.0, False))).findings == ()
    (found,) = integrity_of(judged(*[(-3.0, False)] * 3)).findings
    assert found.name == "harmful"
    assert (
        "(score -3.0); without it the model would have been better in 3 of them" in found.evidence
    )
    assert integrity_of(judged(*[(-1.5, False)] * 10)).findings == ()


def test_rounds_are_forgotten() -> None:
    known = judged(*[(-6.0, True)] * 3)
    assert recent(known, AGE) == known
    assert [one.round for one in recent(known, AGE + 2)] == [3]
    assert recent(known, AGE + 3) == ()
    many = judged(*[(0.0, False)] * (MEMORY + 5))
    assert [one.round for one in recent(many, MEMORY + 5)] == list(range(6, MEMORY + 6))


def test_who_takes_part_seldom_is_found_out_all_the_same() -> None:
    known: tuple[JudgedRound, ...] = ()
    for number in (10, 30, 50):
        known = recent(remember(known, Judgement(EVIDENCE, -6.0, (NULL,)), number), number)
    (found,) = integrity_of(known).findings
    assert found.evidence.startswith("in 3 of its last 3 rounds")


def test_what_is_kept_of_a_judged_round_is_plain_and_tells_the_same() -> None:
    world = LeastSquares(5, 0.3, {4: "null"})
    world.play()
    for judgement in world.play():
        one = JudgedRound(2, judgement)
        again = JudgedRound.from_plain(json.loads(json.dumps(one.to_plain())))
        assert integrity_of([again] * 3) == integrity_of([one] * 3)
        assert len(json.dumps(one.to_plain())) < 400


# --- policies --------------------------------------------------------------------------------------


GOOD, LOW = Integrity(0.1, 5, ()), Integrity(-2.75, 5, ())
BAD = Integrity(-6.0, 5, (Finding("free_rider", "in 5 of its last 5 rounds"),))
NEW = Integrity(None, 0, ())
CLIENTS = {"a": GOOD, "b": GOOD, "c": LOW, "d": BAD, "e": NEW}


@pytest.mark.parametrize(
    ("policy", "factors"),
    [
        ("report", [1, 1, 1, 1, 1]),
        ("exclude", [1, 1, 1, 0, 1]),
        ("downweight", [1, 1, 0.625, FOUND_FACTOR, 1]),
    ],
)
def test_policies(policy: str, factors: list[float]) -> None:
    standings = apply_policy(policy, CLIENTS)
    assert [one.factor for one in standings.values()] == pytest.approx(factors)
    assert "free_rider, in 5 of its last 5 rounds" in standings["d"].reason
    assert standings["a"].reason == "nothing was found"


def test_a_weight_falls_no_further_than_a_quarter_without_a_finding() -> None:
    lowest = dataclasses.replace(LOW, score=-6.0)
    assert apply_policy("downweight", {"a": GOOD, "c": lowest})["c"].factor == 0.25


@pytest.mark.parametrize("policy", ["exclude", "downweight"])
def test_nothing_follows_when_most_have_findings(policy: str) -> None:
    standings = apply_policy(policy, {"a": BAD, "b": BAD, "c": GOOD})
    assert [one.factor for one in standings.values()] == [1, 1, 1]
    assert standings["c"].reason.startswith("2 of 3 clients have findings: with more than half")
    assert apply_policy(policy, {"a": BAD, "b": GOOD})["a"].factor < 1


def test_an_unknown_policy_lists_those_that_there_are() -> None:
    with pytest.raises(Invalid, match="'exlude'; did you mean 'exclude'"):
        apply_policy("exlude", {})
    with pytest.raises(Invalid, match="there are 'report', 'exclude', 'downweight'"):
        apply_policy("zzz", {})
