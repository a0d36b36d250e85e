"""The pieces of code that run by themselves (functions, methods, tops of modules), and what leads to what."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fedops.scalize.discovery.source.files_read import Source
from fedops.scalize.discovery.source.survey import Survey

#: Methods that run without being named, where their class is used.
_UNNAMED = {"forward", "call", "build", "reset_parameters", "setup"}
#: Methods that every model has: to call one leads to no method of the project's model classes.
_EVERY_MODEL = {"train", "eval", "fit", "evaluate", "compile", "to", "load_state_dict"}
_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, eq=False)
class Scope:
    """One function, method, body of a class, or the top of a module."""

    name: str  #: dotted; of a module's top the module's
    words: str  #: as a person calls it: ``train()``, ``Trainer.fit()``, ``the top of main.py``
    line: int
    source: Source
    statements: tuple[ast.stmt, ...]
    owner: str = ""  #: dotted name of the class it is in
    method: str = ""

    #: What was once found in it.
    kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Everything in it, in the order of the lines."""
        found = [node for statement in self.statements for node in ast.walk(statement)]
        return sorted(found, key=lambda node: getattr(node, "lineno", 0))

    @property
    def place_of_names(self) -> tuple[str, str]:
        """The module, and what of it names are looked up in."""
        module = self.source.names.module
        rest = self.name.removeprefix(module).strip(".")
        return module, rest.split(".")[0]

    def place(self, node: ast.AST) -> str:
        return f"{self.source.path}:{getattr(node, 'lineno', self.line)}"


@dataclass
class Scopes:
    """All scopes of a project, and what each of them names."""

    seen: Survey
    by_name: dict[str, Scope] = field(default_factory=dict)
    methods: dict[str, list[Scope]] = field(default_factory=dict)  #: of each class

    def __post_init__(self) -> None:
        for source in self.seen.sources:
            for scope in _scopes_of(source):
                self.by_name.setdefault(scope.name, scope)
                if scope.owner:
                    self.methods.setdefault(scope.owner, []).append(scope)
        self._models = {cls.target for cls in self.seen.subclasses(*_MODEL_BASES)}
        self._parents = {cls.target: cls.bases for cls in self.seen.classes}
        self._named: dict[str, set[str]] = {}

    def __iter__(self) -> Iterator[Scope]:
        return iter(self.by_name.values())

    def named_in(self, scope: Scope) -> set[str]:
        """The project's functions and classes that a scope names, and ``.x`` for what it asks of objects."""
        if scope.name not in self._named:
            found = set()
            for node in scope.nodes:
                if isinstance(node, ast.Name | ast.Attribute):
                    name = self.seen.real_name(scope.source.names.dotted(node))
                    known = name in self.by_name or name in self.methods
                    found |= {name} if known else set()
                if isinstance(node, ast.Attribute):
                    found.add(f".{node.attr}")
            self._named[scope.name] = found - {scope.name}
        return self._named[scope.name]

    def reached(self, begin: Iterable[str]) -> set[str]:
        """The names of all scopes that run when those in ``begin`` (functions or classes) do."""
        done: set[str] = set()
        asked: set[str] = set()
        classes: set[str] = set()
        waiting = set(begin)
        while waiting:
            while waiting:
                name = waiting.pop()
                done.add(name)
                classes |= {name, *self._bases(name)} if name in self.methods else set()
                if name in self.by_name:
                    named = self.named_in(self.by_name[name])
                    asked |= {part[1:] for part in named if part.startswith(".")}
                    waiting |= {part for part in named if not part.startswith(".")} - done
            waiting = {m for cls in classes for m in self._run(cls, asked)} - done
        return done & set(self.by_name)

    def leading_to(self, targets: Iterable[str]) -> set[str]:
        """The names of all scopes from which one of ``targets`` is reached, step by step."""
        begin = set(targets)
        waiting = begin | {self.by_name[name].owner for name in begin if name in self.by_name}
        found: set[str] = set()
        done: set[str] = {""}
        while waiting:
            done |= (now := waiting - done)
            by = {name for target in now for name in self._named_by.get(target, ())}
            found |= by
            waiting = (by | {self.by_name[name].owner for name in by}) - done
        return found - begin

    @cached_property
    def _named_by(self) -> dict[str, list[str]]:
        """The names of the scopes that name a function or class."""
        found: dict[str, list[str]] = {}
        for scope in self:
            for name in self.named_in(scope):
                if not name.startswith("."):
                    found.setdefault(name, []).append(scope.name)
        return found

    def _run(self, cls: str, asked: set[str]) -> Iterator[str]:
        names = asked - _EVERY_MODEL if cls in self._models else asked
        for scope in self.methods[cls]:
            method = scope.method
            if method in names or method in _UNNAMED or method.startswith("__"):
                yield scope.name

    def _bases(self, name: str) -> Iterator[str]:
        """The project's own classes that a class derives from, itself too."""
        yield name
        for base in self._parents.get(name, ()):
            if base in self.methods and base != name:
                yield from self._bases(base)


_MODEL_BASES = (
    "torch.nn.Module",
    "torch.nn.modules.module.Module",
    "keras.Model",
    "tensorflow.keras.Model",
    "lightning.LightningModule",
    "lightning.pytorch.LightningModule",
    "pytorch_lightning.LightningModule",
)


def _scopes_of(source: Source) -> Iterator[Scope]:
    module = source.names.module
    top = tuple(node for node in source.tree.body if not isinstance(node, _DEFINES))
    yield Scope(module, f"the top of {source.path}", 1, source, top)
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name, body = f"{module}.{node.name}", tuple(node.body)
            yield Scope(name, f"{node.name}()", node.lineno, source, body)
        elif isinstance(node, ast.ClassDef):
            yield from _scopes_of_class(node, source)


def _scopes_of_class(node: ast.ClassDef, source: Source) -> Iterator[Scope]:
    cls = f"{source.names.module}.{node.name}"
    body = tuple(item for item in node.body if not isinstance(item, _DEFINES))
    yield Scope(cls, f"class {node.name}", node.lineno, source, body, cls)
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            words = f"{node.name}.{item.name}()"
            name, body = f"{cls}.{item.name}", tuple(item.body)
            yield Scope(name, words, item.lineno, source, body, cls, item.name)
