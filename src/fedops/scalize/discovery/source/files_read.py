"""One file of a project, read."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from fedops.scalize.discovery.source.definitions import Names


@dataclass(frozen=True, eq=False)
class Source:
    path: str  #: seen from the project's folder
    tree: ast.Module
    names: Names  #: its ``module`` is the path where it cannot be imported


def follow_stars(files: Iterable[Names]) -> None:
    """Make known to each file what it gets by ``from module import *`` from another of the project."""
    by_module = {names.module: names for names in files}
    while True:
        grown = False
        for names in by_module.values():
            for star in names.stars:
                other = by_module.get(star)
                given = other.known.items() if other else ()
                more = {k: v for k, v in given if k not in names.known and not k.startswith("_")}
                names.known |= more
                grown |= bool(more)
        if not grown:
            return
