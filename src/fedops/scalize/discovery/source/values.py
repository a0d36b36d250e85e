"""What an expression of a project stands for, as far as that can be told without running it.

A name is looked up where it stands. What is given several values, or is changed after it was read, is
not known: a guess could train something else than the project does.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar, cast

from fedops.scalize.discovery.source.bindings import Change
from fedops.scalize.discovery.source.definitions import Call, Class, Names, plain_value
from fedops.scalize.discovery.source.named_values import NamedValues, Place
from fedops.scalize.discovery.source.own_settings import SettingsObject, chain, part_of

_DEPTH = 8  #: names that stand for names
_MOST_CALLS = 20
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_MOST_STEPS = 400  #: of one look-up; a project with more ways is not followed
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _bounded(method: _Method) -> _Method:
    """Ends a look-up that goes on and on with None: it is not known."""

    @wraps(method)
    def bounded(self: Values, *args: Any, **kwargs: Any) -> Any:
        first, self._steps = self._steps == 0, self._steps + 1
        try:
            return method(self, *args, **kwargs) if self._steps < _MOST_STEPS else None
        finally:
            if first:
                self._steps = 0

    return cast("_Method", bounded)


@dataclass
class Values(NamedValues):
    classes: list[Class] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    names: dict[str, Names] = field(default_factory=dict)  #: of each module
    #: Function -> its parameters and their defaults.
    signatures: dict[Place, dict[str, ast.expr | None]] = field(default_factory=dict)
    exported: dict[str, str] = field(default_factory=dict)  #: name in a package -> where it is from
    _by_target: dict[str, list[Call]] = field(default_factory=dict, repr=False)
    _indexed: int = 0  #: how many of the calls are in ``_by_target``
    _steps: int = field(default=0, repr=False)  #: of the look-up that goes on

    def real_name(self, name: str) -> str:
        """Where a name is defined that packages hand on (``from .registry import make``)."""
        for _ in range(10):  # more is a circle
            name = self.exported.get(name, name)
        return name

    def calls_of(self, target: str) -> list[Call]:
        if self._indexed != len(self.calls):
            self._by_target = {}
            for call in self.calls:
                self._by_target.setdefault(call.target, []).append(call)
            self._indexed = len(self.calls)
        return self._by_target.get(target, [])

    # --- one expression ----------------------------------------------------------------------------

    @_bounded
    def value_of(self, node: ast.expr, at: Place | None = None, depth: int = _DEPTH) -> Any:
        """The plain value of an expression that stands ``at`` a place; None: it is not known."""
        if (value := plain_value(node)) is not None or depth <= 0:
            return value
        if isinstance(node, ast.BinOp):
            return self._calculated(node, at, depth - 1)
        name, path = chain(node)
        if not name:
            return None
        if not path:
            return self._of_name(name, at, depth)
        return self._of_part(node, name, path, at, depth)

    def _calculated(self, node: ast.BinOp, at: Place | None, depth: int) -> Any:
        left, right = (self.value_of(side, at, depth) for side in (node.left, node.right))
        work = _ARITHMETIC.get(type(node.op))
        numbers = all(type(side) in (int, float) for side in (left, right))
        try:
            return work(left, right) if work and numbers else None
        except (ArithmeticError, ValueError):
            return None

    def _of_name(self, name: str, at: Place | None, depth: int) -> Any:
        if at is None:
            constant = self.constants.get(name)
            return self.click_options.get(name) if constant is None else constant
        for place in dict.fromkeys([at, (at[0], "")]):
            if name in self.bound.get(place, {}):
                also = [*self._passed(place, name)] if self._has(place, name) else []
                values = [*self.bound[place][name], *([None] if also else [])]
                return self._agreed(((v, place) for v in values), depth)
            if self._has(place, name):
                return self._of_parameter(place, name, depth)
        module, _, last = self._origin(name, at[0]).rpartition(".")
        there = (module, "")
        if last in self.bound.get(there, {}):
            return self._agreed(((v, there) for v in self.bound[there][last]), depth)
        return None

    def _origin(self, name: str, module: str) -> str:
        known = self.names.get(module)
        return self.real_name(known.known.get(name, "")) if known else ""

    def _has(self, place: Place, name: str) -> bool:
        return name in self.signatures.get(place, {})

    def _of_parameter(self, place: Place, name: str, depth: int) -> Any:
        """What a function is given for a parameter, wherever the project calls it, else its default."""
        if name in (command := self.commands.get(place, {})):
            return command[name]
        return self._agreed(self._passed(place, name), depth)

    def _passed(self, place: Place, name: str) -> Iterator[tuple[ast.expr | None, Place | None]]:
        signature = self.signatures[place]
        index, default = [*signature].index(name), signature[name]
        calls = self.calls_of(".".join(place))[:_MOST_CALLS]
        for call in calls:
            given = call.argument(index, name)
            if given is not None:
                yield given, call.place
            elif call.spread or default is not None:
                yield (None if call.spread else default), None
        if not calls and default is not None:
            yield default, None

    def _agreed(self, given: Iterator[tuple[ast.expr | None, Place | None]], depth: int) -> Any:
        found = [None if v is None else self.value_of(v, at, depth - 1) for v, at in given]
        same = found and all(type(v) is type(found[0]) and v == found[0] for v in found)
        return found[0] if same else None

    def _of_part(
        self, node: ast.expr, name: str, path: list[str], at: Place | None, depth: int
    ) -> Any:
        if at and self._is_changed(at[0], name, path):
            return self._changed_to(at[0], name, path, depth)
        held = self._of_name(name, at, depth - 1)
        if isinstance(held, Mapping):
            return part_of(held, path)
        if at and (found := self.object_of(name, at, depth - 1)):
            return found.said(path)
        module, _, last = self._dotted(node, at).rpartition(".")
        if last in self.bound.get((module, ""), {}):
            values = self.bound[module, ""][last]
            return self._agreed(((v, (module, "")) for v in values), depth)
        if (value := self.own.value(path)) is not None and not self._is_an_option(path[-1]):
            return value
        attribute = isinstance(node, ast.Attribute)
        return self.named_value(path[-1], at[0] if at else "") if attribute else None

    def _dotted(self, node: ast.expr, at: Place | None) -> str:
        names = self.names.get(at[0]) if at else None
        return self.real_name(names.dotted(node)) if names else ""

    # --- objects of settings -------------------------------------------------------------------------

    @_bounded
    def object_of(self, name: str, at: Place, depth: int = _DEPTH) -> SettingsObject | None:
        """The object of settings that a variable holds, also where it was handed to its function."""
        if depth <= 0:
            return None
        for place in dict.fromkeys([at, (at[0], "")]):
            if (*place, name) in self.own.objects:
                return self._with_changes(self.own.objects[*place, name], place[0], name, depth)
            if name in self.bound.get(place, {}) and not self._has(place, name):
                return self._renamed(place, name, depth)
            if self._has(place, name):
                found = [self.object_in(v, p, depth - 1) for v, p in self._passed(place, name)]
                first = found[0] if found else None
                same = first and all(one and one.table == first.table for one in found)
                return self._with_changes(first, place[0], name, depth) if same else None
        module, _, last = self._origin(name, at[0]).rpartition(".")
        if not last or (module, "") == at or depth <= 0:
            return None
        return self.object_of(last, (module, ""), depth - 1)

    def _renamed(self, place: Place, name: str, depth: int) -> SettingsObject | None:
        """``model_cfg = cfg["model"]``"""
        values = self.bound[place][name]
        if len(values) != 1 or depth <= 0:
            return None
        found = self.object_in(values[0], place, depth)
        return self._with_changes(found, place[0], name, depth)

    def object_in(
        self, node: ast.expr | None, at: Place | None, depth: int = _DEPTH
    ) -> SettingsObject | None:
        """The object, or the part of one, that an expression stands for."""
        if isinstance(node, ast.Call) and at and depth > 0:
            return self._constructed(node, at, depth)
        name, path = chain(node) if node is not None else ("", [])
        whole = self.object_of(name, at, depth - 1) if name and at and depth > 0 else None
        return whole.part(path) if whole else None

    def origins(
        self, node: ast.expr | None, at: Place | None, depth: int = _DEPTH
    ) -> Iterator[tuple[ast.expr | None, Place | None]]:
        """What a name stands for, also where it was handed to its function; None: nobody knows."""
        if not isinstance(node, ast.Name) or at is None or depth <= 0:
            yield node, at
            return
        for place in dict.fromkeys([at, (at[0], "")]):
            if node.id in self.bound.get(place, {}):
                for value in self.bound[place][node.id]:
                    yield from self.origins(value, place, depth - 1)
                return
            if self._has(place, node.id):
                for value, there in self._passed(place, node.id):
                    yield from self.origins(value, there, depth - 1)
                return
        yield None, None

    def is_all_read(self, node: ast.expr | None, at: Place | None) -> bool:
        """Whether each argument of a call that makes settings is known."""
        if not isinstance(node, ast.Call) or at is None:
            return True
        if self._signature(self._dotted(node.func, at)) is None:
            return True  # it reads a file
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        return all(self.value_of(v, at) is not None or self.object_in(v, at) for v in given)

    def _constructed(self, call: ast.Call, at: Place, depth: int) -> SettingsObject | None:
        """``Config(lr=0.1)`` or ``Config.from_yaml("c.yaml")`` of the project's own class, or its loader."""
        target = self._dotted(call.func, at)
        cls = next((c for c in self.classes if c.target == target), None)
        signature = self._signature(target)
        names = [p.name for p in cls.parameters] if cls else signature and [*signature]
        if names is None or (cls is not None and not cls.holds_settings):
            return None
        table: dict[str, Any] = {"_target_": target}
        for name, node in [*zip(names, call.args, strict=False), *_keywords(call)]:
            if isinstance(node, ast.Constant) and node.value is None:
                continue  # a config has no word for it; it is the default, as good as always
            inner = self.object_in(node, at, depth - 1)
            value = inner.table if inner else self.value_of(node, at, depth - 1)
            if value is not None or cls or not self._has_default(target, name):
                table[name] = value
        if None in table.values() or "" in table or len(call.args) > len(names):
            return None
        given = {name: value for name, value in table.items() if name != "_target_"}
        return SettingsObject(table, {**(cls.fields if cls else {}), **given})

    def _signature(self, target: str) -> dict[str, ast.expr | None] | None:
        """The parameters of a function or a method of the project, and their defaults."""
        found = (names for place, names in self.signatures.items() if ".".join(place) == target)
        return next(found, None)

    def _has_default(self, target: str, name: str) -> bool:
        return (self._signature(target) or {}).get(name) is not None

    def _with_changes(
        self, found: SettingsObject | None, module: str, name: str, depth: int
    ) -> SettingsObject | None:
        """With what the module changes of it; None where that cannot be read off."""
        for change in self.changes.get(module, ()) if found else ():
            if change.root != name or found is None:
                continue
            value = None
            if change.value is not None and change.path:
                value = self.value_of(change.value, (module, ""), min(depth - 1, 3))
            found = found.changed(change.path, value) if value is not None else None
        return found

    def _is_changed(self, module: str, name: str, path: Sequence[str]) -> bool:
        return any(True for _ in self._changes_of(module, name, path))

    def _changes_of(self, module: str, name: str, path: Sequence[str]) -> Iterator[Change]:
        for change in self.changes.get(module, ()):
            if change.root == name and tuple(path)[: len(change.path)] == change.path:
                yield change

    def _changed_to(self, module: str, name: str, path: Sequence[str], depth: int) -> Any:
        """What it is changed to, if that is one plain value."""
        changes = [*self._changes_of(module, name, path)]
        whole = all(change.path == tuple(path) for change in changes)
        values = ((change.value, (module, "")) for change in changes)
        return self._agreed(iter(values), depth) if whole else None


def _keywords(call: ast.Call) -> list[tuple[str, ast.expr]]:
    """What is given by name; '' for what is handed on as ``**``."""
    return [(keyword.arg or "", keyword.value) for keyword in call.keywords]
