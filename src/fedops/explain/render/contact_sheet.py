"""From numbers to pictures: samples, raw maps as heat, heat over samples, and the contact sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Heat = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

#: Both can be read by people who do not see red and green apart, and in grey.
MAP = "viridis"
SIGNED_MAP = "PuOr_r"
_STRONGEST = 0.85
_DIMMED = 0.8  #: a picture under heat, so that heat on white is seen


def as_pictures(inputs: Tensor) -> list[Image.Image]:
    """Samples [n, channels, h, w] as pictures, whatever normalisation the data step applied."""
    values = inputs.float().numpy()
    if values.min() < 0 or values.max() > 1:
        low = values.min(axis=(0, 2, 3), keepdims=True)
        high = values.max(axis=(0, 2, 3), keepdims=True)
        values = (values - low) / np.where(high > low, high - low, 1)
    pixels = (values * 255 + 0.5).astype(np.uint8)
    return [_picture(one) for one in pixels]


def enlarged(picture: Image.Image, side: int) -> Image.Image:
    """Small pictures by whole factors with crisp pixels, large ones reduced."""
    factor = side // max(picture.size)
    if factor >= 1:
        size = picture.width * factor, picture.height * factor
        return picture.resize(size, Image.Resampling.NEAREST)
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def scaled(raw: npt.NDArray[np.float32], signed: bool) -> Heat:
    """A raw map as heat from 0 to 1; signed ones from -1 to 1. A flat map is all zero."""
    strongest = float(np.abs(raw).max()) if raw.size else 0.0
    if strongest == 0.0 or not np.isfinite(strongest) or (not signed and raw.min() == raw.max()):
        return np.zeros(raw.shape, dtype=np.float32)
    heat = raw.astype(np.float32) / np.float32(strongest)
    return heat if signed else np.maximum(heat, 0)


def spread(heat: Heat, size: tuple[int, int], enlarge: Literal["linear", "nearest"]) -> Heat:
    """A small map as large as a picture of ``size`` (width, height), still reaching 1."""
    how = Image.Resampling.BILINEAR if enlarge == "linear" else Image.Resampling.NEAREST
    large: Heat = np.asarray(Image.fromarray(heat).resize(size, how), dtype=np.float32)
    strongest = float(np.abs(large).max())
    return large / np.float32(strongest) if strongest > 0 else large


def coloured(heat: Heat, signed: bool) -> Image.Image:
    """Heat alone."""
    return Image.fromarray(_colours(heat, signed))


def overlaid(picture: Image.Image, heat: Heat, signed: bool) -> Image.Image:
    """Heat over the picture in grey: where there is none, the picture shines through."""
    grey = _DIMMED * np.asarray(picture.convert("L"), dtype=np.float32)[:, :, None]
    share = (_STRONGEST * np.minimum(1.5 * np.abs(heat), 1))[:, :, None]
    mixed = grey * (1 - share) + _colours(heat, signed).astype(np.float32) * share
    return Image.fromarray(mixed.astype(np.uint8))


def small_png(path: Path, limit: int) -> bytes | None:
    """A picture file in at most ``limit`` bytes, if 128 or fewer colours do; else None."""
    with Image.open(path) as picture:
        for colours in (128, 48):
            packed = io.BytesIO()
            picture.convert("RGB").quantize(colours).save(packed, "PNG", optimize=True)
            if packed.tell() <= limit:
                return packed.getvalue()
    return None


def scale_bar(width: int, height: int, signed: bool) -> Image.Image:
    """The colours from the least to the most."""
    low = -1.0 if signed else 0.0
    line = np.linspace(low, 1.0, width, dtype=np.float32)[None, :].repeat(height, axis=0)
    return coloured(line, signed)


def _colours(heat: Heat, signed: bool) -> Pixels:
    table = _table(SIGNED_MAP if signed else MAP)
    unit = (heat + 1) / 2 if signed else heat
    return table[np.clip(unit * 255 + 0.5, 0, 255).astype(np.uint8)]


_TABLES: dict[str, Pixels] = {}


def _table(name: str) -> Pixels:
    if name not in _TABLES:
        colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
        _TABLES[name] = (colours * 255 + 0.5).astype(np.uint8)
    return _TABLES[name]


def _picture(pixels: Pixels) -> Image.Image:
    if pixels.shape[0] != 3:
        pixels = pixels.mean(axis=0, keepdims=True).astype(np.uint8).repeat(3, axis=0)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


SIDE = 112  #: of one panel in pixels
_GAP, _MARGIN, _CAPTION, _BETWEEN = 6, 20, 22, 30
_PAPER, _INK, _FAINT, _WRONG = (255, 255, 255), (25, 25, 25), (110, 110, 110), (178, 55, 0)
_LINE = (215, 215, 215)


@dataclass(frozen=True)
class View:
    """What one model made of one sample."""

    #: Heat and overlay, as large as they are shown; none when there was no time or the sample failed.
    panels: tuple[Image.Image, ...]
    text: str  #: "7 (98 %)"
    right: bool
    remark: str = ""  #: "flat map"


@dataclass(frozen=True)
class Row:
    """One sample: its input, as large as it is shown, and a view for each model."""

    input: Image.Image
    text: str
    views: dict[str, View] = field(default_factory=dict)


@dataclass(frozen=True)
class Style:
    """How a sheet's heat is drawn."""

    signed: bool = False
    enlarge: Literal["linear", "nearest"] = "linear"


def heat_and_overlay(source: Image.Image, heat: Heat, style: Style) -> tuple[Image.Image, ...]:
    """Both in the pixels of the input, enlarged as it is."""
    large = spread(heat, source.size, style.enlarge)
    return (
        enlarged(coloured(large, style.signed), SIDE),
        enlarged(overlaid(source, large, style.signed), SIDE),
    )


def draw_contact_sheet(
    title: str, subtitle: str, rows: Sequence[Row], models: Sequence[str], style: Style
) -> Image.Image:
    """The whole sheet, rows in as many blocks side by side as make it handy."""
    blocks = 1 if len(rows) <= 4 else 2 if len(rows) <= 20 else 3
    per_block = -(-len(rows) // blocks)
    width = _block_width(len(models))
    tall = SIDE + _CAPTION
    head = 84
    size = (
        2 * _MARGIN + blocks * width + (blocks - 1) * _BETWEEN,
        head + 24 + per_block * tall + _MARGIN + 24,
    )
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 16), title, fill=_INK, font=_font(20))
    pen.text((_MARGIN, 46), subtitle, fill=_FAINT, font=_font(13))
    for number in range(blocks):
        left = _MARGIN + number * (width + _BETWEEN)
        _headings(pen, left, head, models)
        part = rows[number * per_block : (number + 1) * per_block]
        for line, row in enumerate(part):
            _draw_row(sheet, pen, (left, head + 24 + line * tall), row, models)
    _legend(sheet, pen, size, style)
    return sheet


def strip(row: Row, model: str) -> Image.Image:
    """One sample of one model by itself: input, heat, overlay."""
    panels = [row.input, *row.views[model].panels]
    width, height = row.input.size
    result = Image.new("RGB", (len(panels) * (width + 4) - 4, height), _PAPER)
    for number, panel in enumerate(panels):
        result.paste(panel, (number * (width + 4), 0))
    return result


def _block_width(models: int) -> int:
    return SIDE + models * 2 * (SIDE + _GAP) + models * _GAP


def _lefts(left: int, number: int) -> tuple[int, int]:
    """Where the heat and the overlay of a model stand."""
    start = left + SIDE + 2 * _GAP + number * (2 * (SIDE + _GAP) + _GAP)
    return start, start + SIDE + _GAP


def _headings(pen: ImageDraw.ImageDraw, left: int, top: int, models: Sequence[str]) -> None:
    pen.text((left, top), "input", fill=_FAINT, font=_font(13))
    for number, model in enumerate(models):
        heat, overlay = _lefts(left, number)
        pen.text((heat, top), f"{model}: heat", fill=_FAINT, font=_font(13))
        pen.text((overlay, top), f"{model}: overlay", fill=_FAINT, font=_font(13))


def _draw_row(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    row: Row,
    models: Sequence[str],
) -> None:
    left, top = corner
    sheet.paste(row.input, corner)
    pen.text((left, top + SIDE + 1), row.text, fill=_INK, font=_font(13))
    for number, model in enumerate(models):
        view = row.views.get(model)
        if view is not None:
            _draw_view(sheet, pen, _lefts(left, number), top, view)


def _draw_view(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, lefts: tuple[int, int], top: int, view: View
) -> None:
    if view.panels:
        for left, panel in zip(lefts, view.panels, strict=True):
            sheet.paste(panel, (left, top))
    else:
        pen.rectangle((lefts[0], top, lefts[1] + SIDE - 1, top + SIDE - 1), outline=_LINE)
        words = view.remark or "not explained"
        pen.text((lefts[0] + 8, top + 8), words, fill=_FAINT, font=_font(13))
    mark = "" if view.right else "wrong: "
    remark = f" · {view.remark}" if view.remark and view.panels else ""
    ink = _INK if view.right else _WRONG
    pen.text((lefts[0], top + SIDE + 1), f"{mark}{view.text}{remark}", fill=ink, font=_font(13))


def _legend(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, size: tuple[int, int], style: Style
) -> None:
    top = size[1] - _MARGIN - 14
    words = ("against", "for the class") if style.signed else ("no evidence", "most evidence")
    pen.text((_MARGIN, top - 1), words[0], fill=_FAINT, font=_font(13))
    left = _MARGIN + 8 + int(pen.textlength(words[0], font=_font(13)))
    sheet.paste(scale_bar(160, 12, style.signed), (left, top + 2))
    note = f"{words[1]}     every map is scaled to its own maximum"
    pen.text((left + 168, top - 1), note, fill=_FAINT, font=_font(13))


@cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
