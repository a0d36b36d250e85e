"""A round's findings about a model of tables as pictures: the features that matter, model beside model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedops.explain.explainers.tabular_explainer import TableExplainer, TableFindings
from fedops.explain.quality.history import Raw
from fedops.explain.render.contact_sheet import SIGNED_MAP
from fedops.explain.render.round_images import Album

_MOST = 12
#: Okabe and Ito's blue and orange: told apart by everyone, and in grey.
_COLOURS = ("#0072B2", "#E69F00")
_WORDS = {
    "permutation": "loss of goodness when the feature is shuffled",
    "shap": "mean |SHAP value| of the samples",
}


def draw_feature_bars(
    folder: Path,
    title: str,
    explainer: TableExplainer,
    found: TableFindings,
    features: Sequence[str],
    singles: bool = True,
) -> Album:
    """Draw everything into ``folder``. There are no pictures of single rows."""
    names = [_name(number, features) for number in range(explainer.features)]
    album = Album(samples=_entries(explainer, found, names), singles=singles)
    for method in explainer.options.methods:
        for role in explainer.options.roles if method == "shap" else explainer.options.roles[:1]:
            raws = {m: r for m in found.models if (r := found.maps.get((m, method, role)))}
            if not raws:
                continue
            name = f"sheet-{method}-{role}.png"
            what = f"{title}: {method}" + (f", {role} output" if method == "shap" else "")
            _figure(what, method, raws, names).savefig(folder / name, dpi=100)
            album.sheets.append(name)
    return album


def _figure(title: str, method: str, raws: dict[str, Raw], names: Sequence[str]) -> Figure:
    strength = {model: np.abs(raw.values).mean(0) for model, raw in raws.items()}
    if method == "permutation":
        strength = {model: raw.values[0] for model, raw in raws.items()}
    top = np.argsort(-np.max(list(strength.values()), axis=0), kind="stable")[:_MOST]
    grids = len(raws) if method == "shap" else 0
    figure = Figure(figsize=(6.5 + 4.5 * grids, 1.6 + 0.36 * len(top)), layout="constrained")
    panels = figure.subplots(1, 1 + grids, squeeze=False)[0]
    figure.suptitle(title, x=0.01, ha="left")
    _bars(panels[0], strength, top, [names[i] for i in top], _WORDS[method])
    for panel, (model, raw) in zip(panels[1:], raws.items(), strict=False):
        _grid(figure, panel, model, raw, top)
    return figure


def _bars(
    panel: Axes, strength: dict[str, Any], top: Any, names: Sequence[str], words: str
) -> None:
    places = np.arange(len(top))
    thick = 0.8 / len(strength)
    for number, (model, values) in enumerate(strength.items()):
        middles = places - 0.4 + (number + 0.5) * thick
        panel.barh(middles, values[top], thick, color=_COLOURS[number % 2], label=model)
    panel.set_yticks(places, list(names))
    panel.set_ylim(len(top) - 0.5, -0.5)
    panel.set_xlabel(words)
    panel.legend(frameon=False, loc="lower right")
    panel.spines[["top", "right"]].set_visible(False)


def _grid(figure: Figure, panel: Axes, model: str, raw: Raw, top: Any) -> None:
    values = raw.values[:, top].T
    most = float(np.abs(values).max()) or 1.0
    image = panel.imshow(values, cmap=SIGNED_MAP, vmin=-most, vmax=most, aspect="auto")
    panel.set_title(f"{model}: SHAP value of each sample", fontsize=10)
    panel.set_xlabel("sample")
    panel.set_yticks([])
    figure.colorbar(image, ax=panel, label="against      for the output")


def _entries(
    explainer: TableExplainer, found: TableFindings, names: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for (model, method, role), raw in found.maps.items():
        if role not in explainer.options.roles:
            continue  # only for the drift
        said = found.said[model]
        for number, index in enumerate(explainer.probes.indices):
            values = raw.values[number if len(raw.values) > 1 else 0]
            entry: dict[str, Any] = {"index": index, "model": model, "method": method}
            entry |= {"explains": role, "png": None, "flags": [] if values.any() else ["flat"]}
            entry |= _said(explainer, said[number], number)
            if not explainer.numbers and entry["label"] != entry["predicted"]:
                entry["flags"].append("wrong")
            top = np.argsort(-np.abs(values), kind="stable")[:_MOST]
            entry["features"] = {names[i]: round(float(values[i]), 6) for i in top}
            rows.append(entry)
    return rows


def _said(explainer: TableExplainer, said: Any, number: int) -> dict[str, Any]:
    label = float(explainer.probes.labels[number])
    if explainer.numbers:
        return {"label": label, "predicted": round(float(said[0]), 6), "probability": None}
    best = int(said.argmax())
    return {
        "label": int(label),
        "predicted": explainer.label(best),
        "probability": round(float(said[best]), 6),
    }


def _name(number: int, features: Sequence[str]) -> str:
    return str(features[number]) if number < len(features) else f"feature {number}"
