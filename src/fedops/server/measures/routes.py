"""Which route a request is of: a name out of a list that has an end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Routes:
    """The templates of an app. ``declared``: such as ``GET /runs/{run_id}``."""

    def __init__(self, declared: Iterable[str]) -> None:
        self._known: dict[tuple[str, int], list[tuple[str, list[str]]]] = defaultdict(list)
        for one in declared:
            method, _, template = one.partition(" ")
            parts = template.split("/")
            self._known[method, len(parts)].append((template, parts))
        for templates in self._known.values():  # what names all its parts goes first
            templates.sort(key=lambda known: sum(_is_open(part) for part in known[1]))

    def names(self, method: str, path: str) -> tuple[str, str]:
        """The template, and the method. Whatever is none is ``other``."""
        if method not in _METHODS:
            return OTHER, OTHER
        found = self._find(method, path)
        if found is None and method == "HEAD":
            found = self._find("GET", path)
        return found or OTHER, method

    def _find(self, method: str, path: str) -> str | None:
        given = path.split("/")
        for template, parts in self._known.get((method, len(given)), ()):
            if all(_is_open(part) or part == one for part, one in zip(parts, given, strict=True)):
                return template
        return None


def _is_open(part: str) -> bool:
    return part.startswith("{")
