"""One file of a project, read."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fedops.scalize.discovery.source.definitions import Names


@dataclass(frozen=True, eq=False)
class Source:
    path: str  #: seen from the project's folder
    tree: ast.Module
    names: Names  #: its ``module`` is the path where it cannot be imported
