"""The table of who takes a run to which state, against the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import fedops.server
from fedops.core.states import RUN_TRANSITIONS, RunStatus
from fedops.server.runs.stopping import _SETTLES_AS
from fedops.server.runs.transitions import MOVED_BY

SERVER = Path(str(fedops.server.__file__)).parent


def calls() -> Iterator[tuple[RunStatus, str]]:
    """Every state that a call of ``transition_run`` names, with the function that makes the call."""
    for path in SERVER.rglob("*.py"):
        module = ".".join(path.relative_to(SERVER).with_suffix("").parts)
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef):
                for state in states_in(function):
                    yield state, f"{module}.{function.name}"


def states_in(function: ast.FunctionDef) -> Iterator[RunStatus]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "transition_run":
            match node.args[2]:
                case ast.Attribute(attr=name):
                    yield RunStatus[name]
                case ast.Subscript(value=ast.Name(id="_SETTLES_AS")):
                    yield from _SETTLES_AS.values()
                case other:
                    raise AssertionError(ast.unparse(other))


def test_the_table_says_who_takes_a_run_where() -> None:
    found: dict[RunStatus, set[str]] = {}
    for state, function in calls():
        found.setdefault(state, set()).add(function)
    assert {state: set(functions) for state, functions in MOVED_BY.items()} == found


def test_every_state_but_the_first_is_reached() -> None:
    reached = {state for after in RUN_TRANSITIONS.values() for state in after}
    assert set(MOVED_BY) == reached == set(RunStatus) - {RunStatus.PENDING}
