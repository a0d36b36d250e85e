"""The rooms of the house: none has more than fifteen modules, and no two of them import each other."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"
MOST_MODULES = 15
#: Rooms whose modules are found by their numbers, not by their names.
NOT_ROOMS = {"fedops.server.database.migrations.versions"}


def name_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str, modules: dict[str, Path]) -> str:
    """The folder that a module lies in. What lies beside the folders is a room of its own."""
    if modules[module].name == "__init__.py" or module.count(".") == 1:
        return module
    return module.rpartition(".")[0]


def imports_of(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from {name if name in modules else node.module for name in names}
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def main() -> None:
    modules = {name_of(path): path for path in (SRC / "fedops").rglob("*.py")}
    rooms, edges = defaultdict(list), defaultdict(list)
    for module, path in modules.items():
        room = room_of(module, modules)
        if path.name != "__init__.py":
            rooms[room].append(module)
        for target in imports_of(path, modules):
            if target in modules and (other := room_of(target, modules)) != room:
                edges[room, other].append(f"{module} -> {target}")
    wrong = [
        f"{room} has {len(found)} modules, {MOST_MODULES} at most"
        for room, found in sorted(rooms.items())
        if len(found) > MOST_MODULES and room not in NOT_ROOMS
    ]
    for one, other in sorted(edges):
        if one < other and (other, one) in edges:
            pairs = "; ".join([*edges[one, other], *edges[other, one]])
            wrong.append(f"{one} and {other} import each other: {pairs}")
    if wrong:
        sys.exit("\n".join(wrong))
    sys.stdout.write(f"{len(modules)} modules in {len(rooms)} rooms, none in a circle\n")


if __name__ == "__main__":
    main()
