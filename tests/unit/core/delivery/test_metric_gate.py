"""The newest model under new code and old."""

from __future__ import annotations

import pytest

from fedops.core.delivery.metric_gate import Compared, compare_codes


@pytest.mark.parametrize(
    ("metric", "before", "after", "wanted"),
    [
        ("accuracy", 0.9, 0.89, Compared.FINE),
        ("accuracy", 0.9, 0.87, Compared.WORSE),
        ("accuracy", 0.5, 0.9, Compared.FINE),
        ("val_loss", 0.5, 0.51, Compared.FINE),
        ("val_loss", 0.5, 0.6, Compared.WORSE),
        ("val_loss", 0.5, 0.1, Compared.FINE),
    ],
)
def test_it_may_lose_a_little_by_what_is_better(
    metric: str, before: float, after: float, wanted: Compared
) -> None:
    found, text = compare_codes(metric, 0.02, {metric: before}, {metric: after})
    assert found is wanted
    assert (f"{before:.4g}" in text and f"{after:.4g}" in text) is (wanted is Compared.WORSE)


def test_what_was_not_measured_is_said() -> None:
    found, text = compare_codes("f1", 0.0, {"loss": 1.0}, {"loss": 1.0, "accuracy": 0.5})
    assert found is Compared.UNKNOWN
    assert text == "no 'f1' under the old and the new code; it has: accuracy, loss"


@pytest.mark.parametrize(("before", "after"), [({}, {}), ({}, {"f1": 0.1}), ({"f1": 0.9}, {})])
def test_without_a_model_or_an_old_code_there_is_nothing_to_compare(
    before: dict[str, float], after: dict[str, float]
) -> None:
    assert compare_codes("f1", 0.0, before, after)[0] is Compared.FINE
