"""What a module defines, read from its syntax: classes, functions and their parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """A call somewhere in the project, e.g. ``HousePriceModel(n_features=10)``."""

    target: str  #: the dotted name, as far as imports tell it
    args: tuple[ast.expr, ...]
    kwargs: Mapping[str, ast.expr]
    scope: str  #: "" for the top of a module, else the function's or class's name
    module: str
    line: int = 0
    spread: tuple[ast.expr, ...] = ()  #: what is handed on as ``**kwargs``

    @property
    def place(self) -> tuple[str, str]:
        return self.module, self.scope

    def argument(self, index: int, name: str) -> ast.expr | None:
        """What is given for a parameter; None: nothing, or among what is handed on."""
        if name in self.kwargs:
            return self.kwargs[name]
        before = self.args[: index + 1]
        if len(before) <= index or any(isinstance(arg, ast.Starred) for arg in before):
            return None
        return before[index]


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: str = ""  #: dotted, as far as imports tell it
    required: bool = True
    default: Any = None  #: of those that are plain values


@dataclass(frozen=True)
class Function:
    """A function at the top of a module."""

    module: str
    name: str
    parameters: tuple[Parameter, ...]
    line: int
    file: Path
    returns: str = ""  #: the annotation, dotted
    #: Dotted names of what the ``return`` statements call, or of the classes of what they return.
    gives: tuple[str, ...] = ()
    #: How many things a ``return a, b`` lists.
    elements: int = 1
    answers: bool = False  #: whether it returns anything
    open_ended: bool = False  #: whether it takes ``**kwargs``

    @property
    def target(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Class:
    """A class at the top of a module, its bases as dotted names."""

    module: str
    name: str
    bases: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    line: int
    file: Path
    #: Annotated fields and their defaults, as of a dataclass.
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def needs_nothing(self) -> bool:
        return not any(p.required for p in self.parameters)

    @property
    def holds_settings(self) -> bool:
        """Whether its objects are settings rather than something that works with them."""
        works = any(base.endswith(_WORKS) for base in self.bases)
        return not works and bool(self.fields or self.name.endswith(_SETTINGS))


_WORKS = ("Module", "Dataset", "Model", "Trainer", "DataModule")
_SETTINGS = ("Config", "Cfg", "Settings", "Options", "Args", "Arguments", "Params", "HParams")


class Names:
    """What the names at the top of one module stand for."""

    def __init__(self, tree: ast.Module, module: str, is_package: bool) -> None:
        self.module = module
        self._package = module if is_package else module.rpartition(".")[0]
        self.imported: set[str] = set()
        self.known: dict[str, str] = {}
        self.stars: list[str] = []  #: modules of which all names are imported
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._add(node)
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                self.known[node.name] = f"{module}.{node.name}"

    def _add(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*" and isinstance(node, ast.ImportFrom):
                self.stars.append(self._origin(node))
                continue
            if isinstance(node, ast.Import):
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                dotted = alias.name
            else:
                whole = dotted = f"{self._origin(node)}.{alias.name}"
            self.imported.add(dotted)
            self.known[alias.asname or alias.name.partition(".")[0]] = whole

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self._package.split(".")
        kept = package[: len(package) - node.level + 1]
        return ".".join([*kept, *([node.module] if node.module else [])])

    def dotted(self, node: ast.expr | None) -> str:
        """The dotted name an expression stands for, or ''."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.known.get(node.value, node.value)
        if isinstance(node, ast.Name):
            return self.known.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        return ""


def function_of(node: ast.FunctionDef, names: Names, file: Path) -> Function:
    return Function(
        module=names.module,
        name=node.name,
        parameters=_parameters(node, names),
        line=node.lineno,
        file=file,
        returns=names.dotted(node.returns),
        gives=tuple(dict.fromkeys(filter(None, _gives(node, names)))),
        elements=max([1, *_elements(node)]),
        answers=any(_answers(inner) for inner in ast.walk(node)),
        open_ended=node.args.kwarg is not None,
    )


def _elements(node: ast.FunctionDef) -> Iterator[int]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Return) and isinstance(inner.value, ast.Tuple):
            yield len(inner.value.elts)


def _answers(node: ast.AST) -> bool:
    given = node.value if isinstance(node, ast.Return) else None
    return given is not None and not (isinstance(given, ast.Constant) and given.value is None)


def class_of(node: ast.ClassDef, names: Names, file: Path) -> Class:
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return Class(
        module=names.module,
        name=node.name,
        bases=tuple(filter(None, (names.dotted(base) for base in node.bases))),
        parameters=_parameters(inits[0], names)[1:] if inits else _field_parameters(node, names),
        line=node.lineno,
        file=file,
        fields=plain_fields(node),
    )


def _field_parameters(node: ast.ClassDef, names: Names) -> tuple[Parameter, ...]:
    """The parameters of a dataclass; nothing for other classes."""
    decorators = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    if not any(names.dotted(d).endswith("dataclass") for d in decorators):
        return ()
    return tuple(
        Parameter(
            item.target.id,
            names.dotted(item.annotation),
            item.value is None,
            plain_value(item.value),
        )
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    )


def _parameters(node: ast.FunctionDef, names: Names) -> tuple[Parameter, ...]:
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    pairs = [*zip(positional, [*missing, *args.defaults], strict=True)]
    pairs += zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return tuple(
        Parameter(arg.arg, names.dotted(arg.annotation), default is None, plain_value(default))
        for arg, default in pairs
    )


def _gives(node: ast.FunctionDef, names: Names) -> Iterator[str]:
    """What is returned: names of the calls in ``return f(...)``, also by way of a variable."""
    made: dict[str, str] = {}
    for inner in ast.walk(node):
        value = _unwrapped(inner.value, names) if isinstance(inner, ast.Assign) else None
        if isinstance(inner, ast.Assign) and isinstance(value, ast.Call):
            for target in inner.targets:
                if isinstance(target, ast.Name):
                    made.setdefault(target.id, names.dotted(value.func))
    for inner in ast.walk(node):
        given = _unwrapped(inner.value, names) if isinstance(inner, ast.Return) else None
        if isinstance(given, ast.Call):
            yield names.dotted(given.func)
        elif isinstance(given, ast.Name):
            yield made.get(given.id, "")


#: Methods of a model that give it back, and functions that wrap one.
_GIVES_ITSELF = {"to", "cuda", "cpu", "eval", "train", "float", "double", "half", "requires_grad_"}
_WRAPS = {"torch.compile", "torch.nn.DataParallel", "torch.jit.script"}


def _unwrapped(node: ast.expr | None, names: Names) -> ast.expr | None:
    """``make()`` in ``make().to(device)``, and ``model`` in ``torch.compile(model)``."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _GIVES_ITSELF:
            node = node.func.value
        elif node.args and names.dotted(node.func) in _WRAPS:
            node = node.args[0]
        else:
            break
    return node


def plain_value(node: ast.expr | None) -> Any:
    """The number, text, truth value, or list or dict of those that is written there; else None."""
    if node is None:
        return None
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(value, dict):
        return value if value and _is_plain_dict(value) else None
    items = value if isinstance(value, list | tuple) else [value]
    plain = all(isinstance(item, PLAIN) for item in items)
    return (list(value) if isinstance(value, tuple) else value) if plain else None


PLAIN = (bool, int, float, str)


def _is_plain_dict(value: dict[Any, Any]) -> bool:
    """Whether it could be a table of a config file."""
    return all(
        isinstance(key, str)
        and (isinstance(item, PLAIN) or (isinstance(item, dict) and _is_plain_dict(item)))
        for key, item in value.items()
    )


def plain_fields(node: ast.ClassDef) -> dict[str, Any]:
    return {
        item.target.id: plain_value(item.value)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and plain_value(item.value) is not None
    }
