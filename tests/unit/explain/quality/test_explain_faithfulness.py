from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fedops.explain.methods.time_budget import OutOfTime
from fedops.explain.quality import faithfulness
from fedops.explain.quality.faithfulness import LIGHT

WEIGHTS = torch.tensor([4.0, 3.0, 2.0, 1.0]).view(1, 1, 2, 2)


def linear(pictures: Tensor, _rows: Tensor) -> Tensor:
    return (pictures * WEIGHTS).sum((1, 2, 3)) / 10


def test_deletion_and_insertion_of_a_linear_model_by_hand() -> None:
    ones, zeros = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    order = faithfulness.ranked(WEIGHTS[0])
    curve = faithfulness.curve(linear, ones, zeros, order, 4)
    torch.testing.assert_close(curve, torch.tensor([[1, 0.6, 0.3, 0.1, 0]]))
    deletion, insertion = faithfulness.deletion_and_insertion(linear, ones, zeros, order, 4)
    assert float(deletion) == pytest.approx(0.375)
    assert float(insertion) == pytest.approx(0.625)


def test_a_random_order_expects_one_half() -> None:
    ones, zeros = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    orders = torch.tensor(
        [[a, b, c, d] for a in range(4) for b in range(4) for c in range(4) for d in range(4)
         if len({a, b, c, d}) == 4]
    )  # fmt: skip
    areas = [
        faithfulness.area(faithfulness.curve(linear, ones, zeros, order[None], 4))
        for order in orders
    ]
    assert float(torch.stack(areas).mean()) == pytest.approx(0.5)


def test_more_steps_than_pixels_take_pixel_by_pixel() -> None:
    ones, zeros = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    order = faithfulness.ranked(WEIGHTS[0])
    assert faithfulness.curve(linear, ones, zeros, order, 50).shape == (1, 5)


def test_large_pictures_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, fill = torch.rand(3, 1, 6, 6), torch.zeros(3, 1, 6, 6)
    order = faithfulness.shuffled(3, 36, 1)

    def predict(shown: Tensor, rows: Tensor) -> Tensor:
        return shown.sum((1, 2, 3)) + rows

    whole = faithfulness.curve(predict, pictures, fill, order, 5)
    at_once = faithfulness.road(predict, pictures, order, 0)
    monkeypatch.setattr(faithfulness, "_FLOATS", 1)
    torch.testing.assert_close(faithfulness.curve(predict, pictures, fill, order, 5), whole)
    torch.testing.assert_close(
        faithfulness.road(predict, pictures, order, 0), at_once, atol=1e-4, rtol=0
    )


def test_random_orders_are_orders_and_the_same_every_time() -> None:
    first = faithfulness.shuffled(3, 10, 5)
    assert torch.equal(first, faithfulness.shuffled(3, 10, 5))
    assert torch.equal(first.sort(1).values, torch.arange(10).expand(3, 10))
    assert not torch.equal(first[0], first[1])


def test_removed_pixels_solve_the_equations_of_their_neighbours() -> None:
    """A plane is the mean of its neighbours: inside a frame of known pixels it comes back exactly."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    plane = (rows + 2 * columns).view(1, 1, 8, 8)
    gone = torch.zeros(1, 1, 8, 8)
    gone[..., 2:6, 2:6] = 1
    found = faithfulness.filled_in(plane, gone, 0)
    noise = faithfulness.NOISE * float(plane.max())
    assert (found - plane).abs().max() < 5 * noise
    assert torch.equal(found[gone == 0], plane[gone == 0])


def test_a_single_removed_pixel_is_the_weighted_mean_by_hand() -> None:
    picture = torch.tensor([[1.0, 2, 3], [4, 0, 6], [7, 8, 9]]).view(1, 1, 3, 3)
    gone = torch.zeros(1, 1, 3, 3)
    gone[..., 1, 1] = 1
    expected = (2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 9) / 12
    solved = faithfulness._solved(gone, picture * (1 - gone), lambda: None)
    assert float(solved[0, 0, 1, 1]) == pytest.approx(expected, abs=1e-5)


def test_the_solver_stops_when_the_time_is_over() -> None:
    """On pictures of 224 x 224 its steps take far longer than a pass through a small model."""
    asked = []

    def check() -> None:
        asked.append(len(asked))
        if len(asked) == 3:
            raise OutOfTime

    pictures = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    order = faithfulness.ranked(pictures.mean(1))
    with pytest.raises(OutOfTime):
        faithfulness.road(lambda shown, _rows: shown.mean((1, 2, 3)), pictures, order, 0, check)
    assert len(asked) == 3


def test_road_rewards_the_order_that_matters() -> None:
    """The class is the brightness of one quarter."""
    pictures = torch.zeros(2, 1, 12, 12)
    pictures[:, :, :6, :6] = 1

    def bright(shown: Tensor, _rows: Tensor) -> Tensor:
        return shown[:, 0, :6, :6].mean((1, 2))

    quarter = pictures[:, 0]
    right = faithfulness.road(bright, pictures, faithfulness.ranked(quarter), 0)
    wrong = faithfulness.road(bright, pictures, faithfulness.ranked(-quarter), 0)
    assert right.min() > 0.1
    torch.testing.assert_close(right, -wrong, atol=0.12, rtol=0)


def test_everything_removed_is_no_picture() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        faithfulness.filled_in(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), 0)


def test_a_good_map_beats_chance_and_a_bad_one_does_not() -> None:
    generator = torch.Generator().manual_seed(3)
    pictures = torch.zeros(4, 1, 14, 14)
    pictures[:, :, 4:8, 4:8] = torch.rand(4, 1, 4, 4, generator=generator) + 1

    def bright(shown: Tensor, _rows: Tensor) -> Tensor:
        return shown[:, 0, 4:8, 4:8].mean((1, 2)) / 2

    good = faithfulness.measure(bright, pictures, pictures[:, 0], LIGHT, 0)
    bad = faithfulness.measure(bright, pictures, -pictures[:, 0], LIGHT, 0)
    assert good["deletion"] < good["deletion_random"] < bad["deletion"]
    assert good["insertion"] > good["insertion_random"] > bad["insertion"]
    assert good["road"] > 0 > bad["road"]


def test_a_blurred_picture_keeps_its_mean_and_loses_its_shape() -> None:
    picture = torch.zeros(1, 1, 28, 28)
    picture[..., 13:15, 13:15] = 1
    found = faithfulness.blurred(picture)
    assert float(found.mean()) == pytest.approx(float(picture.mean()), rel=0.2)
    assert float(found.max()) < 0.05
