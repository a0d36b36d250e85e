"""Who is found, with which words, and above all who is not."""

import numpy as np
import pytest
from rounds import SIZE, LeastSquares, tensors

from fedops.algorithms.integrity.findings import round_findings
from fedops.algorithms.integrity.judging import judge_round
from fedops.algorithms.integrity.robust_scores import LIMIT, robust_z
from fedops.algorithms.integrity.update_evidence import (
    RoundContext,
    UpdateEvidence,
    measure_updates,
)

RNG = np.random.default_rng(0)


def names(judged: list) -> list[list[str]]:
    return [[found.name for found in one.findings] for one in judged]


# --- the evidence ----------------------------------------------------------------------------------


def test_evidence_by_hand() -> None:
    before = {"w": np.array([1.0, 1.0]), "count": np.array(5)}
    changes = [(3.0, 4.0), (4.0, 0.0), (0.0, 2.0)]
    updates = [{"w": np.array(c) + 1, "count": np.array(9)} for c in changes]
    gradients = [{"w": np.array(g)} for g in ((-1.0, 0.0), (-1.0, 1.0), (0.0, -1.0))]
    left_out = np.array([[0.3, 0.4, -0.1], [0.1, 0.1, 0.0], [-0.2, -0.3, 0.1]])
    context = RoundContext({"w": np.array([0.0, 3.0])}, gradients, left_out)
    first, *_ = measure_updates(updates, before, [1, 1, 2], context)
    assert (first.share, first.norm, first.dimensions) == (0.25, 5.0, 2)
    assert first.norm_ratio == pytest.approx(5 / 3)
    assert first.alignment == pytest.approx((3 * 4 + 4 * 4) / (5 * 32**0.5))
    assert first.replay == pytest.approx(4 / 5)
    assert first.replay_distance == pytest.approx(np.hypot(3, 1) / 3)
    assert first.promise == pytest.approx(3.0)
    assert first.direction == pytest.approx(0.6)
    assert first.promised_gain == pytest.approx(max(3 - 4, 0) + 4)
    assert first.removal == pytest.approx(0.3 * 3)
    assert first.removal_gain == pytest.approx(0.4 * 3)


def test_what_is_not_there_is_not_made_up() -> None:
    (alone,) = measure_updates([tensors(np.ones(3))], tensors(np.zeros(3)), [5])
    assert alone == UpdateEvidence(share=1.0, norm=pytest.approx(3**0.5), dimensions=3)
    assert round_findings([alone]) == [()]


def test_many_coordinates_are_taken_in_blocks() -> None:
    size = 150_000
    changes = RNG.normal(size=(2, size)).astype(np.float32)
    updates = [{"a": c[:100_000].reshape(100, -1), "b": c[100_000:]} for c in changes]
    before = {"a": np.zeros((100, 1000), np.float32), "b": np.zeros(50_000, np.float32)}
    found = measure_updates(updates, before, [1, 1])[0]
    assert found.dimensions == size
    assert found.norm == pytest.approx(np.linalg.norm(changes[0].astype(float)))


# --- scores ----------------------------------------------------------------------------------------


def test_robust_z() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    assert robust_z(values, values, 0.0)[:4] == pytest.approx(np.array([-2, -1, 0, 1]) / 1.4826)
    assert robust_z(values, values, 0.0)[4] == LIMIT


def test_where_all_agree_a_small_difference_stays_small() -> None:
    values = np.array([1.0, 1.0, 1.0, 1.0, 0.98])
    assert robust_z(values, values, 0.25)[4] == pytest.approx(-0.08)
    assert not robust_z(np.zeros(4), np.zeros(4), 0.25).any()


def test_with_three_clients_nobody_has_a_score() -> None:
    judged = LeastSquares(3, 0.5).play()
    assert [one.score for one in judged] == [None] * 3
    assert all(one.score is not None for one in LeastSquares(4, 0.5).play())


def test_a_finding_among_three_clients_is_no_score_either() -> None:
    judged = LeastSquares(3, 0.5, {2: "null"}).play()
    assert names(judged) == [[], [], ["free_rider"]]
    assert [one.score for one in judged] == [None] * 3


def test_with_three_honest_clients_of_five_only_those_that_were_found_have_a_score() -> None:
    judged = LeastSquares(5, 0.5, {3: "null", 4: "null"}).play()
    assert [one.score for one in judged] == [None, None, None, -LIMIT, -LIMIT]


# --- what is found ---------------------------------------------------------------------------------


def test_every_kind_is_found_under_its_name_with_numbers() -> None:
    world = LeastSquares(10, 0.3, {6: "noise", 7: "flip", 8: "null", 9: "replay"})
    world.play()
    judged = world.play()
    assert names(judged) == [*[[]] * 6, ["noise"], ["sign_flipped"], ["free_rider"], ["replay"]]
    said = [one.findings[0].evidence for one in judged[6:]]
    assert said[0].startswith("its update points nowhere: its cosine to the others' mean is")
    assert said[1].startswith("its update goes against the others (cosine -0.")
    assert said[2] == "it returned the model as it was"
    assert said[3].startswith("its update is the last change of the global model: their cosine is")
    assert [one.score for one in judged[6:]] == [-LIMIT] * 4
    assert min(one.score for one in judged[:6]) > -2.5


def test_next_to_nothing_is_said_in_shares_of_the_median() -> None:
    changes = [RNG.normal(size=SIZE) for _ in range(5)]
    changes[2] *= 0.0003
    updates = [tensors(c) for c in changes]
    judged = judge_round(measure_updates(updates, tensors(np.zeros(SIZE)), [1] * 5))
    assert names(judged)[2] == ["free_rider"]
    assert judged[2].findings[0].evidence == "its update is 0.0003 of the median norm"


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_replay_is_found_at_any_length(scale: float) -> None:
    world = LeastSquares(6, 0.5)
    world.play()
    assert world.previous is not None
    honest = [0.2 * (1 + i / 10) * world.previous + RNG.normal(size=SIZE) for i in range(5)]
    updates = [tensors(world.model + c) for c in [*honest, scale * world.previous]]
    context = RoundContext(tensors(world.previous))
    found = judge_round(measure_updates(updates, tensors(world.model), [1] * 6, context))
    assert names(found) == [*[[]] * 5, ["replay"]]


# --- who is not found ------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [1, 2, 3, 10])
@pytest.mark.parametrize("skew", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_honest_clients_are_not_found(clients: int, skew: float, seed: int) -> None:
    world = LeastSquares(clients, skew, seed=seed)
    for _ in range(12):
        assert not any(map(any, names(world.play())))


def test_identical_clients_are_typical_and_nothing_else() -> None:
    update = tensors(RNG.normal(size=SIZE))
    judged = judge_round(measure_updates([update] * 5, tensors(np.zeros(SIZE)), [1] * 5))
    assert [one.score for one in judged] == [0.0] * 5
    assert not any(map(any, names(judged)))


def test_a_run_that_has_converged_has_small_updates_and_no_free_riders() -> None:
    world = LeastSquares(6, 0.0)
    world.model = world._common.copy()
    world.play()
    for _ in range(3):
        assert not any(map(any, names(world.play(rate=1e-3))))


def test_where_nobody_changes_anything_nobody_is_a_free_rider() -> None:
    model = tensors(np.ones(SIZE))
    judged = judge_round(measure_updates([model] * 4, model, [1] * 4))
    assert not any(map(any, names(judged)))


def test_in_a_smooth_run_everybody_goes_on_as_before_and_nobody_replays() -> None:
    """Small full-batch steps: each change is nearly the one before it, for all clients."""
    world = LeastSquares(5, 0.05)
    world.play(rate=0.01)
    world.previous = 0.01 * (world._common - world.model)
    changes = [1.001**i * world.previous + 1e-4 * RNG.normal(size=SIZE) for i in range(5)]
    updates = [tensors(world.model + c) for c in changes]
    context = RoundContext(tensors(world.previous))
    evidence = measure_updates(updates, tensors(world.model), [1] * 5, context)
    assert min(one.replay for one in evidence if one.replay is not None) > 0.98
    assert not any(round_findings(evidence))


def test_a_client_with_less_noise_than_the_others_is_no_replay() -> None:
    """It has more data; in a smooth run it is ten times nearer to the mean than the others."""
    world = LeastSquares(5, 0.05)
    world.play(rate=0.01)
    assert world.previous is not None
    size = np.abs(world.previous).mean()
    noise = [0.03, 0.1, 0.1, 0.1, 0.1]
    changes = [world.previous + n * size * RNG.normal(size=SIZE) for n in noise]
    context = RoundContext(tensors(world.previous))
    evidence = measure_updates(
        [tensors(world.model + c) for c in changes],
        tensors(world.model),
        [3, 2, 2, 2, 2],
        context,
    )
    distances = [1 - one.replay for one in evidence if one.replay is not None]
    assert distances[0] < 0.1 * min(distances[1:]) * 1.2
    assert not any(round_findings(evidence))


def test_a_client_with_most_of_the_data_is_like_the_last_change_and_is_no_replay() -> None:
    world = LeastSquares(3, 0.5)
    world.play()
    assert world.previous is not None
    own = 0.98 * world.previous + 1e-3 * RNG.normal(size=SIZE)
    updates = [tensors(world.model + c) for c in (own, *RNG.normal(size=(2, SIZE)))]
    context = RoundContext(tensors(world.previous))
    for weights, found in (([90, 5, 5], []), ([30, 35, 35], ["replay"])):
        evidence = measure_updates(updates, tensors(world.model), weights, context)
        assert names(judge_round(evidence))[0] == found


def test_in_few_dimensions_noise_cannot_be_told() -> None:
    changes = [*[np.array([1.0, 0.1, 0.0])] * 5, np.array([0.0, 0.0, 1.0])]
    context = RoundContext(tensors(np.array([1.0, 0.0, 0.0])))
    updates = [tensors(c) for c in changes]
    evidence = measure_updates(updates, tensors(np.zeros(3)), [1] * 6, context)
    assert evidence[5].alignment == 0
    assert not any(round_findings(evidence))


def test_half_of_the_clients_may_be_bad_kinds_and_the_good_ones_are_compared_among_themselves() -> (
    None
):
    roles = {i: "null" for i in range(4)} | {4: "replay"}
    world = LeastSquares(10, 0.3, roles)
    world.play()
    judged = world.play()
    assert [bool(one.findings) for one in judged] == [True] * 5 + [False] * 5
    assert min(one.score for one in judged[5:]) > -2
