"""A round's findings as pictures: a contact sheet for each method and class, a strip for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fedops.explain.explainers.image_explainer import Findings, ImageExplainer
from fedops.explain.methods.attribution_maps import MapSet, Predictions
from fedops.explain.methods.base import Method
from fedops.explain.render import contact_sheet
from fedops.explain.render.contact_sheet import Row, Style, View


@dataclass
class Album:
    """What was drawn, and the rows of the report that name it."""

    sheets: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    singles: bool = True


def draw_round_images(
    folder: Path,
    title: str,
    explainer: ImageExplainer,
    found: Findings,
    classes: Sequence[str],
    singles: bool = True,
) -> Album:
    """Draw everything into ``folder``; without ``singles`` the contact sheets only."""
    album = Album(singles=singles)
    inputs = contact_sheet.as_pictures(explainer.probes.inputs)
    for method in explainer.methods:
        for role in explainer.options.roles:
            _draw_sheet(folder, title, explainer, found, (method, role), inputs, classes, album)
    return album


def _draw_sheet(
    folder: Path,
    title: str,
    explainer: ImageExplainer,
    found: Findings,
    what: tuple[Method, str],
    inputs: Sequence[Image.Image],
    classes: Sequence[str],
    album: Album,
) -> None:
    method, role = what
    style = Style(method.signed, method.enlarge)
    rows = []
    for number, image in enumerate(inputs):
        label = int(explainer.probes.labels[number])
        row = Row(
            contact_sheet.enlarged(image, contact_sheet.SIDE), f"true {_class(label, classes)}"
        )
        for model in found.models:
            said, maps = found.predictions.get(model), found.maps.get((model, method.name, role))
            row.views[model] = _view(said, maps, number, label, style, classes, image)
            if said is not None and said.good[number] and maps is not None:
                entry = _entry(explainer, model, method.name, role, said, maps, number)
                entry["png"] = _save_strip(folder, row, model, entry, album)
                album.samples.append(entry)
        rows.append(row)
    name = f"sheet-{_plain(method.name)}-{role}.png"
    sub = _subtitle(explainer, method, role)
    _save(
        contact_sheet.draw_contact_sheet(f"{title}: {method.name}", sub, rows, found.models, style),
        folder / name,
    )
    album.sheets.append(name)


def _view(
    said: Predictions | None,
    maps: MapSet | None,
    number: int,
    label: int,
    style: Style,
    classes: Sequence[str],
    image: Image.Image,
) -> View:
    if said is None:
        return View((), "", True, "no time left")
    if not said.good[number]:
        return View((), "", True, "skipped")
    best = int(said.predicted[number])
    text = f"{_class(best, classes)} ({said.probabilities[number, best]:.0%})"
    if best != label:
        text += f", true {_class(label, classes)} ({said.probabilities[number, label]:.0%})"
    if maps is None or not maps.done[number]:
        return View((), text, best == label, "not explained")
    heat = contact_sheet.scaled(maps.values[number], style.signed)
    panels = contact_sheet.heat_and_overlay(image, heat, style)
    return View(panels, text, best == label, "flat map" if maps.flat[number] else "")


def _entry(
    explainer: ImageExplainer,
    model: str,
    method: str,
    role: str,
    said: Predictions,
    maps: MapSet,
    number: int,
) -> dict[str, Any]:
    """One line of the report: a sample as one model sees it, explained by one method."""
    label, best = int(explainer.probes.labels[number]), int(said.predicted[number])
    flags = ["flat"] if maps.flat[number] else []
    flags += [] if maps.done[number] else ["not explained"]
    flags += [] if label == best else ["wrong"]
    entry: dict[str, Any] = {
        "index": explainer.probes.indices[number],
        "label": label,
        "predicted": best,
        "probability": round(float(said.probabilities[number, best]), 6),
        "true_probability": round(float(said.probabilities[number, label]), 6),
        "model": model,
        "method": method,
        "explains": role,
        "class": int(maps.targets[number]),
        "flags": flags,
        "png": None,
    }
    if np.isfinite(maps.incomplete[number]):
        entry["completeness_error"] = round(float(maps.incomplete[number]), 7)
    return entry


def _save_strip(
    folder: Path, row: Row, model: str, entry: dict[str, Any], album: Album
) -> str | None:
    if not album.singles or "not explained" in entry["flags"]:
        return None
    name = f"{model}-{_plain(entry['method'])}-{entry['explains']}-{entry['index']}.png"
    _save(contact_sheet.strip(row, model), folder / name)
    album.files.append(name)
    return name


def _subtitle(explainer: ImageExplainer, method: Method, role: str) -> str:
    where = f"layer {explainer.layer}, " if method.needs_layer else ""
    return f"{where}why the {role} class; {len(explainer.probes)} fixed samples of this device"


def _class(number: int, classes: Sequence[str]) -> str:
    return str(classes[number]) if number < len(classes) else str(number)


def _plain(name: str) -> str:
    """A method's name in a file name."""
    return "".join(c if c.isalnum() or c in "-_" else {"+": "p"}.get(c, "_") for c in name)


def _save(image: Image.Image, path: Path) -> None:
    image.save(path, "PNG", compress_level=1)
