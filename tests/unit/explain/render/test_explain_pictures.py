from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from fedops.explain.render import contact_sheet
from fedops.explain.render.contact_sheet import Row, Style, View


def test_small_pictures_are_enlarged_crisply() -> None:
    values = (np.arange(28 * 28) % 251).astype(np.uint8).reshape(28, 28)
    large = np.asarray(contact_sheet.enlarged(Image.fromarray(values), 112))
    assert large.shape == (112, 112)
    assert np.array_equal(large, values.repeat(4, 0).repeat(4, 1))


def test_factors_are_whole_and_large_pictures_reduced() -> None:
    assert contact_sheet.enlarged(Image.new("RGB", (32, 32)), 112).size == (96, 96)
    assert contact_sheet.enlarged(Image.new("RGB", (448, 224)), 112).size == (112, 56)


def test_any_normalisation_is_undone_for_the_eye() -> None:
    inputs = torch.rand(2, 1, 5, 5)
    inputs[0, 0, 0, 0], inputs[1, 0, 0, 0] = 0, 1
    plain = [np.asarray(one) for one in contact_sheet.as_pictures(inputs)]
    normal = [np.asarray(one) for one in contact_sheet.as_pictures((inputs - 0.1307) / 0.3081)]
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(plain, normal, strict=True))


def test_colours_stay_colours_and_other_channels_become_grey() -> None:
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    assert np.asarray(contact_sheet.as_pictures(red)[0])[0, 0].tolist() == [255, 0, 0]
    assert contact_sheet.as_pictures(torch.rand(1, 5, 2, 2))[0].mode == "RGB"


def test_a_constant_picture_is_drawn() -> None:
    assert np.asarray(contact_sheet.as_pictures(torch.full((1, 1, 2, 2), 7.0))[0]).max() == 0


@pytest.mark.parametrize("raw", [np.zeros((3, 3)), np.full((3, 3), 2.0), np.full((3, 3), np.nan)])
def test_a_flat_map_has_no_heat(raw: np.ndarray) -> None:
    assert not contact_sheet.scaled(raw.astype(np.float32), signed=False).any()


def test_heat_reaches_one_also_when_enlarged() -> None:
    raw = np.zeros((7, 7), np.float32)
    raw[3, 3] = 0.02
    heat = contact_sheet.scaled(raw, signed=False)
    assert heat.max() == 1
    large = contact_sheet.spread(heat, (28, 28), "linear")
    assert large.shape == (28, 28)
    assert large.max() == pytest.approx(1)
    assert np.unravel_index(large.argmax(), large.shape)[0] in (13, 14)


def test_signed_heat_keeps_its_signs() -> None:
    heat = contact_sheet.scaled(np.array([[-2.0, 0, 1]], np.float32), signed=True)
    assert heat.tolist() == [[-1, 0, 0.5]]


def test_the_colours_can_be_told_apart_in_grey() -> None:
    """Lightness grows all the way: no rainbow."""
    bar = np.asarray(contact_sheet.scale_bar(256, 1, signed=False)).astype(float)[0]
    lightness = bar @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -1.5).all()
    assert lightness[-1] - lightness[0] > 150


def test_the_picture_shines_through_where_there_is_no_heat() -> None:
    source = Image.new("RGB", (4, 4), (200, 200, 200))
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    found = np.asarray(contact_sheet.overlaid(source, heat, signed=False))
    assert found[3, 3].tolist() == [160, 160, 160]
    assert found[0, 0].tolist() != [160, 160, 160]


def rows(count: int) -> list[Row]:
    heat = np.zeros((14, 14), np.float32)
    heat[2, 2] = 1
    views = {
        "global": View(
            contact_sheet.heat_and_overlay(Image.new("RGB", (28, 28)), heat, Style()),
            "7 (98%)",
            True,
        ),
        "local": View((), "", True, "skipped"),
    }
    return [Row(Image.new("RGB", (112, 112)), "true 7", views) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 4, 5, 16, 40])
def test_a_sheet_has_room_for_every_row(count: int) -> None:
    found = contact_sheet.draw_contact_sheet(
        "title", "subtitle", rows(count), ["global", "local"], Style()
    )
    assert found.width < 2200
    yellow = (np.asarray(found).astype(int) - np.array([253, 231, 37])).astype(bool).sum(2) == 0
    # every sample's peak is in its heat panel, and once in the scale
    assert yellow[:-60].sum() >= count


def test_a_strip_shows_one_sample() -> None:
    assert contact_sheet.strip(rows(1)[0], "global").size == (3 * 112 + 8, 112)
    assert contact_sheet.strip(rows(1)[0], "local").size == (112, 112)
