"""The gate: which changes of a metric are a collapse."""

import pytest

from fedops.core.quality_gate import GateRule, judge

USUAL = GateRule()


@pytest.mark.parametrize(
    ("before", "after", "collapsed"),
    [
        ({"loss": 0.5}, {"loss": 1.0}, False),
        ({"loss": 0.5}, {"loss": 1.001}, True),
        ({"accuracy": 0.9}, {"accuracy": 0.45}, False),
        ({"accuracy": 0.9}, {"accuracy": 0.449}, True),
        ({"loss": 0.5, "accuracy": 0.9}, {"loss": 0.6, "accuracy": 0.1}, False),
        ({"loss": 0.5, "accuracy": 0.9}, {"accuracy": 0.1}, True),
        ({"accuracy": 0.9}, {"loss": 9.0}, False),
        ({"loss": 0.0}, {"loss": 9.0}, False),
        ({"loss": -1.0}, {"loss": 9.0}, False),
        ({"accuracy": 0.0}, {"accuracy": 0.0}, False),
    ],
)
def test_a_loss_that_more_than_doubles_or_an_accuracy_below_the_half(
    before: dict[str, float], after: dict[str, float], collapsed: bool
) -> None:
    assert judge(USUAL, before, after, "V3").collapsed is collapsed


def test_another_metric_another_ratio() -> None:
    f1 = GateRule(metric="f1", ratio=1.5)
    assert judge(f1, {"f1": 0.9, "loss": 1.0}, {"f1": 0.5, "loss": 1.0}, "V3").collapsed
    assert not judge(f1, {"f1": 0.9}, {"f1": 0.61, "loss": 99.0}, "V3").collapsed
    assert not judge(f1, {"loss": 1.0}, {"f1": 0.1}, "V3").collapsed


def test_which_way_is_better_follows_from_the_name_unless_it_is_said() -> None:
    before, after = {"mean_error": 1.0}, {"mean_error": 3.0}
    assert judge(GateRule("mean_error"), before, after, "V3").collapsed
    assert not judge(GateRule("mean_error", less_is_better=False), before, after, "V3").collapsed
    assert judge(GateRule("mae", less_is_better=True), {"mae": 1.0}, {"mae": 3.0}, "V3").collapsed


def test_a_metric_that_is_lost_though_somebody_measured_is_a_collapse() -> None:
    """A loss that is infinite is left out on its way."""
    lost = judge(USUAL, {"loss": 0.3}, {}, "V3", evaluated=True)
    assert lost.collapsed
    assert lost.text.startswith(
        "it was evaluated and has no loss, which V3 has: it was too large, infinite"
    )
    assert not judge(USUAL, {"loss": 0.3}, {}, "V3").collapsed, "everybody was away"
    assert not judge(USUAL, {}, {}, "V3", evaluated=True).collapsed
    both = judge(USUAL, {"loss": 0.3, "accuracy": 0.9}, {"accuracy": 0.9}, "V3", evaluated=True)
    assert not both.collapsed, "what both have is compared"
    f1 = GateRule(metric="f1")
    assert judge(f1, {"f1": 0.9}, {"loss": 1.0}, "V3", evaluated=True).collapsed
    assert not judge(f1, {"loss": 0.9}, {"loss": 1.0}, "V3", evaluated=True).collapsed


def test_where_nothing_can_be_compared_it_says_so() -> None:
    text = "no gate: no loss and no accuracy is known of both V3 and it"
    assert judge(USUAL, {}, {}, "V3").text == text
    assert judge(USUAL, {"loss": 0.0}, {"loss": 1.0}, "V3").text == "no gate: the loss of V3 is 0"
    off = judge(GateRule(ratio=0.0), {"loss": 1.0}, {"loss": 9.0}, "V3")
    assert (off.collapsed, off.text) == (False, "no gate: server.gate.ratio is 0")
