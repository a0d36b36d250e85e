from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.explain.methods import class_scores

INPUTS = torch.rand(3, 1, 4, 4)
TABLE = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]])


class Gives(nn.Module):
    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, _x: Tensor) -> Any:
        return self.output


@pytest.mark.parametrize(
    "output", [TABLE, {"logits": TABLE}, SimpleNamespace(logits=TABLE), (TABLE, "more"), [TABLE]]
)
def test_scores_are_found_in_what_models_return(output: Any) -> None:
    assert torch.equal(class_scores.scores(Gives(output), INPUTS), TABLE)


@pytest.mark.parametrize(
    "output", [torch.tensor([1.0, -2.0, 0.0]), torch.tensor([[1.0], [-2.0], [0.0]])]
)
def test_a_single_output_is_the_score_of_class_one(output: Tensor) -> None:
    table = class_scores.scores(Gives(output), INPUTS)
    expected = torch.sigmoid(torch.tensor([1.0, -2.0, 0.0]))
    torch.testing.assert_close(class_scores.probabilities(table)[:, 1], expected)


@pytest.mark.parametrize(
    "output", ["text", torch.zeros(3, 4, 5), torch.zeros(2, 4), torch.zeros(3, 4).long()]
)
def test_other_outputs_are_refused(output: Any) -> None:
    with pytest.raises(Invalid, match="an explanation needs a classifier"):
        class_scores.scores(Gives(output), INPUTS)


def test_probabilities_are_not_made_probable_twice() -> None:
    soft = torch.softmax(TABLE, 1)
    torch.testing.assert_close(class_scores.probabilities(soft), soft)
    torch.testing.assert_close(class_scores.probabilities(soft.log()), soft)
    torch.testing.assert_close(class_scores.probabilities(TABLE), soft)


def test_inputs_take_the_type_of_the_weights() -> None:
    model = nn.Linear(2, 2).to(torch.bfloat16)
    assert class_scores.placed(model, torch.rand(1, 2)).dtype == torch.bfloat16
    assert class_scores.placed(Gives(TABLE), torch.rand(1, 2)).dtype == torch.float32


def test_a_sample_that_the_model_does_not_accept() -> None:
    with pytest.raises(Invalid, match=r"does not accept a sample of shape \[1, 4, 4\]"):
        class_scores.count_classes(nn.Conv2d(3, 4, 3), INPUTS[:1])


def test_a_pass_is_neither_empty_nor_huge() -> None:
    assert class_scores.rows_a_pass(torch.zeros(1, 1, 28, 28)) == 256
    assert class_scores.rows_a_pass(torch.zeros(1, 3, 2000, 2000)) == 1


class _Sigmoid(nn.Module):
    """Its one parameter is the logit."""

    def __init__(self, ends: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.logit, self.ends = nn.Parameter(torch.tensor(-2.0)), ends

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.logit.expand(len(x), 1))


@pytest.mark.parametrize(
    ("ends", "chance"),
    [
        (torch.sigmoid, 1 / (1 + math.exp(2))),
        (lambda x: torch.sigmoid(x).squeeze(1), 1 / (1 + math.exp(2))),
        (lambda x: nn.functional.sigmoid(x).view(-1), 1 / (1 + math.exp(2))),
        (lambda x: torch.sigmoid(x) * 1.0 - 0.25, None),  # a score, whatever its range
    ],
)
def test_a_model_that_ends_in_a_sigmoid_gives_a_probability(
    ends: Any, chance: float | None
) -> None:
    with torch.no_grad():
        table = class_scores.scores(_Sigmoid(ends), torch.zeros(3, 4))
    if chance is None:
        assert float(table[0, 1]) == pytest.approx((1 / (1 + math.exp(2)) - 0.25) / 2)
    else:
        assert class_scores.probabilities(table)[:, 1].tolist() == pytest.approx([chance] * 3)
        assert table.argmax(1).tolist() == [0, 0, 0]
