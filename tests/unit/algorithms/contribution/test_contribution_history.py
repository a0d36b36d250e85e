"""Values and integrity over rounds: added up, kept as plain values, and never mixed."""

import json

import numpy as np
import pytest

from fedops.algorithms.contribution.contribution_history import ContributionHistory, add_round
from fedops.algorithms.contribution.estimate import Estimate, exact_estimate, sampled_estimate
from fedops.algorithms.integrity.findings import Finding
from fedops.algorithms.integrity.integrity_history import AGE
from fedops.algorithms.integrity.judging import Judgement
from fedops.algorithms.integrity.update_evidence import UpdateEvidence
from fedops.core.errors import Invalid


def sampled(*rows: tuple[float, float, float], error: float = 0.3) -> Estimate:
    """Of each client: the value, then two classes."""
    return sampled_estimate("kernel_shap", np.array(rows), np.full(len(rows), error), 40)


def judgement(score: float | None = 0.0, *findings: Finding) -> Judgement:
    return Judgement(UpdateEvidence(share=0.5, norm=1.0), score, findings)


def two_rounds() -> ContributionHistory:
    history = add_round(
        ContributionHistory(),
        1,
        ["a", "b"],
        sampled((0.2, 0.5, 0.0), (0.1, 0.0, 0.25)),
        [judgement(), judgement(-1.0)],
    )
    return add_round(history, 2, ["a"], sampled((0.4, 0.25, 0.5), error=0.4), [judgement(0.5)])


def test_values_add_up_and_so_do_squared_errors() -> None:
    clients = two_rounds().clients
    assert clients["a"].value == pytest.approx(0.6)
    assert clients["a"].standard_error == pytest.approx(0.5)
    assert (clients["a"].participations, clients["a"].mean_value) == (2, pytest.approx(0.3))
    assert clients["a"].by_class == (0.75, 0.5)
    assert clients["a"].integrity.score == 0.25


def test_who_was_not_there_keeps_its_value() -> None:
    absent = two_rounds().clients["b"]
    assert (absent.value, absent.participations, absent.by_class) == (0.1, 1, (0.0, 0.25))


def test_a_round_makes_a_new_history() -> None:
    before = two_rounds()
    plain = json.dumps(before.to_plain())
    add_round(before, 3, ["c"], None, [judgement()])
    assert json.dumps(before.to_plain()) == plain


def test_a_history_is_plain_values() -> None:
    free_rider = Finding("free_rider", "it returned the model as it was")
    history = add_round(two_rounds(), 3, ["c"], None, [judgement(-6.0, free_rider)])
    again = ContributionHistory.from_plain(json.loads(json.dumps(history.to_plain())))
    assert again.to_plain() == history.to_plain()
    assert {name: one.integrity for name, one in again.clients.items()} == {
        name: one.integrity for name, one in history.clients.items()
    }


def test_without_evaluations_there_is_integrity_and_no_value() -> None:
    history = add_round(ContributionHistory(), 1, ["a"], None, [judgement(-2.0)])
    one = history.clients["a"]
    assert (one.participations, one.mean_value, one.integrity.score) == (0, 0.0, -2.0)


def test_what_is_known_of_the_absent_grows_old() -> None:
    history = two_rounds()
    for round_ in range(3, AGE + 3):
        history = add_round(history, round_, ["a"], None, [judgement()])
    assert history.clients["b"].integrity.rounds == 0
    assert len(history.clients["a"].judged) == 20
    assert history.clients["b"].value == 0.1


def test_two_numbers_that_disagree_stay_two() -> None:
    """A skewed client may be worth less than nothing and be honest; a free-rider the other way round."""
    skewed, rider = (-0.2, -0.5, 0.9), (0.1, 0.1, 0.1)
    history = ContributionHistory()
    null = Finding("free_rider", "it returned the model as it was")
    for round_ in (1, 2):
        estimate = exact_estimate("shapley", np.array([skewed, rider]), 4)
        history = add_round(
            history, round_, ["skewed", "rider"], estimate, [judgement(), judgement(-6.0, null)]
        )
    skewed_client, rider_client = history.clients["skewed"], history.clients["rider"]
    assert skewed_client.value < rider_client.value
    assert skewed_client.by_class[1] == pytest.approx(1.8)
    assert not skewed_client.integrity.findings
    assert [one.name for one in rider_client.integrity.findings] == ["free_rider"]


def test_mistakes() -> None:
    with pytest.raises(Invalid, match="round 2 does not come after round 2"):
        add_round(two_rounds(), 2, ["a"], None, [judgement()])
    with pytest.raises(Invalid, match="named twice"):
        add_round(two_rounds(), 3, ["a", "a"], None, [judgement(), judgement()])
