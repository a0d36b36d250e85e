"""Fits in the command's source that a look which was ended early did not come to."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.observed.look import Look

#: What tells a call of Keras's ``fit``, which trains, from the ``fit`` of a scaler or of a tokenizer.
_TRAINS = {
    "epochs",
    "batch_size",
    "steps_per_epoch",
    "validation_data",
    "validation_split",
    "callbacks",
}
_LIMIT = 2_000_000  #: characters of a source file that is looked through


def later_fits(look: Look) -> Iterator[Difference]:
    """The fits that stand behind the last one that was seen, in the same file."""
    seen = look.seen
    if seen.ended not in ("passes", "steps"):
        return
    met = [loader.where for loader in seen.loaders] + [model.where for model in seen.models]
    for name in dict.fromkeys(place.rpartition(":")[0] for place in met if ":" in place):
        lines = [int(line) for line in _lines(met, name)]
        later = [line for line in _fits(look, name) if lines and line > max(lines)]
        if later:
            yield _difference(name, later, look)


def _lines(places: list[str], name: str) -> Iterator[str]:
    for place in places:
        file, _, line = place.rpartition(":")
        if file == name and line.isdecimal():
            yield line


def _fits(look: Look, name: str) -> list[int]:
    file = look.project / name
    if file.suffix != ".py" or not file.is_file() or file.stat().st_size > _LIMIT:
        return []
    try:
        tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
    except (SyntaxError, ValueError):
        return []
    return sorted(node.lineno for node in ast.walk(tree) if _is_fit(node))


def _is_fit(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    named = {keyword.arg for keyword in node.keywords}
    return node.func.attr == "fit" and bool(named & _TRAINS)


def _difference(name: str, lines: list[int], look: Look) -> Difference:
    calls = "fit is called again" if len(lines) == 1 else f"fit is called {len(lines)} times more"
    places = ", ".join(map(str, lines))
    text = (
        f"{calls} behind the loop that a round ends ({places}), which is no part of a round; if that "
        "training is meant, let the command do it alone"
    )
    return Difference(kind="later_fits", text=text, where=f"{name}:{lines[0]}")
