from __future__ import annotations

import numpy as np
import pytest
import torch
from explain_nets import cnn, pictures
from torch import Tensor, nn

from fedops.core.errors import Invalid
from fedops.explain.methods import attribution_maps, instrumented_model, registry
from fedops.explain.methods.attribution_maps import Subject
from fedops.explain.methods.base import Job, Maps
from fedops.explain.methods.time_budget import Budget
from fedops.explain.quality import map_quality
from fedops.explain.quality.faithfulness import LIGHT
from fedops.testing import FakeClock

CLASSES = np.array([0, 1, 2, 3], dtype=np.int64)
ALL = np.ones(4, np.bool_)


def subject(model: nn.Module, inputs: Tensor, budget: Budget | None = None) -> Subject:
    layer = getattr(model, "conv2", None)
    return Subject(model, inputs, torch.zeros(1, 1, 1, 1), layer, 0, budget or Budget(1e9))


class Notes(list[tuple[int, str]]):
    def __call__(self, row: int, text: str) -> None:
        self.append((row, text))


class Picky(nn.Module):
    """Fails on a picture whose first pixel is -1, and gives NaN where it is -2."""

    def forward(self, x: Tensor) -> Tensor:
        mark = x[:, 0, 0, 0]
        if bool((mark == -1).any()):
            raise RuntimeError("cannot do this one\nat all")
        table = torch.stack([x.sum((1, 2, 3)), -x.sum((1, 2, 3))], 1)
        return torch.where(mark[:, None] == -2, float("nan"), table)


def marked(row: int, mark: float) -> Tensor:
    inputs = pictures(4)
    inputs[row, 0, 0, 0] = mark
    return inputs


def test_one_broken_sample_is_skipped_with_a_note() -> None:
    notes = Notes()
    said = attribution_maps.predict(subject(Picky(), marked(2, -1)), notes)
    assert said.good.tolist() == [True, True, False, True]
    assert notes == [(2, "the model fails on it: cannot do this one")]
    found = attribution_maps.explain_in_time(
        subject(Picky(), marked(2, -1)), registry.make("saliency"), CLASSES % 2, ALL, notes
    )
    assert found.done.tolist() == [True, True, False, True]
    assert notes[-1] == (2, "saliency failed: cannot do this one")


def test_a_sample_with_an_output_that_is_no_number() -> None:
    notes = Notes()
    said = attribution_maps.predict(subject(Picky(), marked(1, -2)), notes)
    assert said.good.tolist() == [True, False, True, True]
    assert notes == [(1, "the model's output is not finite")]


def test_all_samples_broken_is_an_error() -> None:
    inputs = pictures(4)
    inputs[:, 0, 0, 0] = -1
    with pytest.raises(Invalid, match="the model fails on every sample: cannot do this one"):
        attribution_maps.predict(subject(Picky(), inputs), Notes())


def test_a_flat_map_is_zeros_and_flagged_and_never_nan() -> None:
    model = cnn()
    nn.init.zeros_(model.fc2.weight)
    for name in ("gradcam", "gradcam++", "xgradcam", "hirescam", "scorecam", "saliency"):
        found = attribution_maps.explain_in_time(
            subject(model, pictures(4)), registry.make(name), CLASSES, ALL, Notes()
        )
        assert np.isfinite(found.values).all()
        if name != "scorecam":
            assert found.flat.all()
            assert not found.values.any()


def test_a_map_with_a_value_that_is_no_number_becomes_zeros() -> None:
    class Wild:
        name, needs_layer, signed, enlarge, group = "wild", False, False, "nearest", 8

        def explain(self, job: Job) -> Maps:
            values = torch.ones(len(job.inputs), 2, 2)
            values[1, 0, 0] = float("inf")
            from fedops.explain.methods.base import finite

            return Maps(finite(values))

    found = attribution_maps.explain_in_time(
        subject(cnn(), pictures(4)), Wild(), CLASSES, ALL, Notes()
    )  # type: ignore[arg-type]
    assert found.values[1].tolist() == [[0, 0], [0, 0]]
    assert found.flat.tolist() == [True] * 4


def test_when_the_time_is_over_what_is_done_is_kept() -> None:
    clock = FakeClock()
    model = cnn()

    class Slow:
        name, needs_layer, signed, enlarge, group = "slow", False, False, "nearest", 1

        def explain(self, job: Job) -> Maps:
            clock.advance(1)
            return Maps(torch.ones(1, 2, 2))

    found = attribution_maps.explain_in_time(
        subject(model, pictures(4), Budget(1.5, clock)),
        Slow(),
        CLASSES,
        ALL,
        Notes(),  # type: ignore[arg-type]
    )
    assert found.done.tolist() == [True, True, False, False]


def test_every_pass_through_the_model_asks_for_the_time() -> None:
    clock = FakeClock()
    model, budget = cnn(), Budget(10, clock)
    passes = 0

    def count_and_wait() -> None:
        nonlocal passes
        passes += 1
        clock.advance(1)
        budget.check()

    with instrumented_model.watched(model, count_and_wait):
        found = attribution_maps.explain_in_time(
            subject(model, pictures(4), budget), registry.make("kernelshap"), CLASSES, ALL, Notes()
        )
    assert found.done.sum() < 4
    assert passes <= 11
    assert not model._forward_pre_hooks


def test_maps_of_the_same_class_are_taken_over() -> None:
    calls: list[int] = []

    class Counting:
        name, needs_layer, signed, enlarge, group = "counting", False, False, "nearest", 8

        def explain(self, job: Job) -> Maps:
            calls.append(len(job.inputs))
            return Maps(job.targets[:, None, None].float().expand(-1, 2, 2))

    known = attribution_maps.explain_in_time(
        subject(cnn(), pictures(4)), Counting(), CLASSES, ALL, Notes()
    )  # type: ignore[arg-type]
    other = np.array([0, 1, 9, 3], dtype=np.int64)
    found = attribution_maps.explain_in_time(
        subject(cnn(), pictures(4)), Counting(), other, ALL, Notes(), known
    )  # type: ignore[arg-type]
    assert calls == [4, 1]
    assert found.values[:, 0, 0].tolist() == [0, 1, 9, 3]
    assert known.values[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_the_quality_of_a_map() -> None:
    model = cnn()
    one = subject(model, pictures(4))
    found = attribution_maps.explain_in_time(one, registry.make("hirescam"), CLASSES, ALL, Notes())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = map_quality.quality(one, registry.make("hirescam"), found, LIGHT)
    assert result.complete
    assert set(result.measures) == {
        "samples", "deletion", "deletion_random", "insertion", "insertion_random", "road", "sanity", "sane",
    }  # fmt: skip
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_no_quality_of_nothing() -> None:
    found = attribution_maps.explain_in_time(
        subject(cnn(), pictures(4)), registry.make("gradcam"), CLASSES, ~ALL, Notes()
    )
    assert map_quality.quality(
        subject(cnn(), pictures(4)), registry.make("gradcam"), found, LIGHT
    ).measures == {"samples": 0}
