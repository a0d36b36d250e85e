"""Training in the command's source that a look which was ended early did not come to."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.observed.look import Look

#: What tells a call of Keras's ``fit``, which trains, from the ``fit`` of a scaler or of a tokenizer.
_TRAINS = {"epochs", "batch_size", "steps_per_epoch", "validation_data", "validation_split"}
_LIMIT = 2_000_000  #: bytes of a source file that is looked through
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def later_training(look: Look) -> Iterator[Difference]:
    """The fits and training loops that stand behind the last one that was seen, in the same file."""
    seen = look.seen
    if seen.ended not in ("passes", "steps"):
        return
    met = [loader.where for loader in seen.loaders] + [model.where for model in seen.models]
    for name in dict.fromkeys(place.rpartition(":")[0] for place in met if ":" in place):
        lines = list(_lines(met, name))
        tree = _tree(look, name)
        if not (lines and tree):
            continue
        fits = [line for line in _fits(tree) if line > max(lines)]
        if later := sorted([*fits, *_loops_behind(tree, max(lines))]):
            yield _difference(name, later)


def _lines(places: list[str], name: str) -> Iterator[int]:
    for place in places:
        file, _, line = place.rpartition(":")
        if file == name and line.isdecimal():
            yield int(line)


def _tree(look: Look, name: str) -> ast.Module | None:
    file = look.project / name
    if file.suffix != ".py" or not file.is_file() or file.stat().st_size > _LIMIT:
        return None
    try:
        return ast.parse(file.read_text(encoding="utf-8", errors="replace"))
    except (SyntaxError, ValueError):
        return None


def _fits(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and _is_call_of(node, "fit")):
            continue
        if {keyword.arg for keyword in node.keywords} & _TRAINS:
            yield node.lineno


def _loops_behind(tree: ast.Module, line: int) -> list[int]:
    """The loops that go backward, behind the first of those that stand behind ``line`` in its block."""
    around = [
        node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS) and _holds(node, line)
    ]
    block = max(around, key=lambda node: node.lineno).body if around else tree.body
    loops = [node.lineno for node in block if isinstance(node, _LOOPS) and _goes_backward(node)]
    ends = {node.lineno: node.end_lineno or node.lineno for node in block}
    return [start for start in loops if ends[start] >= line][1:]


def _goes_backward(loop: ast.AST) -> bool:
    return any(_is_call_of(node, "backward") for node in ast.walk(loop))


def _is_call_of(node: ast.AST, method: str) -> bool:
    function = node.func if isinstance(node, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr == method


def _holds(loop: ast.stmt, line: int) -> bool:
    return loop.lineno <= line <= (loop.end_lineno or loop.lineno)


def _difference(name: str, lines: list[int]) -> Difference:
    more = "once more" if len(lines) == 1 else f"{len(lines)} times more"
    places = f"line {lines[0]}" if len(lines) == 1 else f"lines {', '.join(map(str, lines))}"
    text = (
        f"it trains {more} behind the loop that a round ends ({places}), which is no part of a round; if "
        "that training is meant, let a command do it alone"
    )
    return Difference(kind="later_training", text=text, where=f"{name}:{lines[0]}")
