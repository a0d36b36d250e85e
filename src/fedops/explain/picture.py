"""From numbers to pixels: samples as pictures, raw maps as heat, heat over pictures."""

from __future__ import annotations

from typing import Literal

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image
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
