"""The command by which a project is probably trained, for ``fedops init . -- COMMAND``."""

from __future__ import annotations

import ast
import re

from fedops.scalize.discovery.training.loops import training_in
from fedops.scalize.discovery.training.scopes import Scopes

_NAMES = re.compile(
    r"(main|train|run|trainer|training|fit|finetune)\b|train|main|run", re.IGNORECASE
)


def likely_command(scopes: Scopes) -> str:
    """``python main.py`` of the file that trains when it is run; '' where none does."""
    trains = {scope.name for scope in scopes if any(training_in(scope))}
    leading = scopes.leading_to(trains) | trains
    best: tuple[int, str] = (0, "")
    for source in scopes.seen.sources:
        if source.names.module not in leading:
            continue
        stem = source.path.rpartition("/")[2].removesuffix(".py").lower()
        named = bool(_NAMES.match(stem)) + bool(_NAMES.search(stem))
        score = 1 + 2 * named + _is_guarded(source.tree) - source.path.count("/")
        best = max(best, (score + 10, source.path), key=lambda found: found[0])
    return _started(best[1], scopes) if best[1] else ""


def _started(path: str, scopes: Scopes) -> str:
    """A module of a package is started by its name."""
    source = next(source for source in scopes.seen.sources if source.path == path)
    relative = any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(source.tree))
    if relative or path.endswith("__main__.py"):
        return f"python -m {source.names.module.removesuffix('.__main__')}"
    return f"python {path}"


def _is_guarded(tree: ast.Module) -> bool:
    tests = (node.test for node in tree.body if isinstance(node, ast.If))
    return any("__name__" in ast.unparse(test) for test in tests)
