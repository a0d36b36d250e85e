"""Model versions and explanations on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from fedops.console.format import (
    bytes_of,
    fields,
    moment,
    number,
    or_dash,
    table,
    table_of,
    version_name,
)
from fedops.core import contracts as c


def models_table(models: Sequence[c.ModelVersionRead]) -> RenderableType:
    if not models:
        return "No global model version yet: a completed run makes the first."
    titles = ("VERSION", "RUN", "ROUND", "FROM", "ACCURACY", "LOSS", "SIZE", "SHA256", "ALIASES")
    rows = [
        (
            version_name(model.version),
            or_dash(model.run_id),
            str(model.round),
            version_name(model.parent),
            number(model.metrics.get("accuracy")),
            number(model.metrics.get("loss")),
            bytes_of(model.size),
            model.sha256[:12],
            ", ".join([*model.aliases, *(["quarantined"] if model.quarantine else [])]),
        )
        for model in models
    ]
    result = table_of(titles, rows, optional=("ACCURACY", "LOSS", "ALIASES"))
    lines = [f"{version_name(m.version)}: {why}" for m in models if (why := quarantine_text(m))]
    return Group(result, *lines) if lines else result


def model_fields(model: c.ModelVersionRead) -> RenderableType:
    return fields(
        {
            "task": model.task,
            "version": version_name(model.version),
            "aliases": ", ".join(model.aliases),
            **{name: text for name, text in _judged(model).items() if text},
            "made by": f"run {or_dash(model.run_id)}, round {model.round}",
            "from": version_name(model.parent),
            **{name: number(value) for name, value in sorted(model.metrics.items())},
            "size": bytes_of(model.size),
            "sha256": model.sha256,
            "created": moment(model.created_at),
        }
    )


def _judged(model: c.ModelVersionRead) -> dict[str, str]:
    """What was said of it, as far as anything was."""
    return {
        "quarantined": quarantine_text(model),
        "gate": model.lineage.get("gate", ""),
        "made again": _rebuilt(model.lineage.get("rebuilds") or {}),
    }


def _rebuilt(rebuilds: Mapping[str, Any]) -> str:
    if not rebuilds:
        return ""
    return f"{version_name(rebuilds['version'])} without {', '.join(rebuilds['without'])}"


def quarantine_text(model: c.ModelVersionRead) -> str:
    """Why a version is quarantined, and since when. Empty: it is not."""
    return f"{model.quarantine} (since {moment(model.quarantined_at)})" if model.quarantine else ""


def explanations_table(found: Sequence[c.ExplanationRead]) -> RenderableType:
    """The scores that say most: drift (0: no change) and faithfulness (above 0: better than chance)."""
    titles = ("ROUND", "DEVICE", "DRIFT SINCE", "FROM GLOBAL", "DELETION", "INSERTION", "SANITY")
    result = table(*titles, right=titles[2:])
    for one in found:
        scores = one.scores
        values = (
            _score(scores, "local_over_rounds", "worst"),
            _score(scores, "local_to_global", "worst"),
            _gain(scores, "deletion_random", "deletion"),
            _gain(scores, "insertion", "insertion_random"),
            _score(scores, "local", "sanity"),
        )
        result.add_row(str(one.round), one.device, *(number(value, 2) for value in values))
    said = [f"round {x.round}, {x.device}: {t}" for x in found for t in (*x.alarms, *x.failures)]
    return Group(result, *said) if found else "No device let anything of its explanations go."


def _score(scores: Mapping[str, float], series: str, name: str) -> float | None:
    """The score of the first method that has it."""
    parts = ((key.split("/"), value) for key, value in sorted(scores.items()))
    return next((v for p, v in parts if (p[0], p[-1]) == (series, name) and len(p) == 3), None)


def _gain(scores: Mapping[str, float], better: str, worse: str) -> float | None:
    high, low = _score(scores, "local", better), _score(scores, "local", worse)
    return None if high is None or low is None else high - low
