"""A static look at somebody's project: what it imports, defines and calls. It never runs a line of it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_SKIPPED = {
    "tests",
    "test",
    "docs",
    "doc",
    "build",
    "dist",
    "node_modules",
    "federated",
    "env",
    "venv",
}
_SKIPPED |= {"site-packages", "notebooks", "outputs", "wandb", "lightning_logs", "__pycache__"}
_LIMIT = 2_000  #: files; a project with more is probably not one


@dataclass(frozen=True)
class Call:
    """A call somewhere in the project, e.g. ``HousePriceModel(n_features=10)``."""

    target: str  #: the dotted name, as far as imports tell it
    args: tuple[ast.expr, ...]
    kwargs: Mapping[str, ast.expr]
    scope: str  #: "" for the top of a module, else the function's or class's name
    module: str


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


@dataclass
class Survey:
    """What was seen in a project."""

    project: Path
    root: Path  #: the folder its imports start from
    imports: set[str] = field(default_factory=set)  #: dotted names, all modules together
    functions: list[Function] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)  #: argparse: name -> default
    constants: dict[str, Any] = field(default_factory=dict)  #: NAME = plain value, top of a module
    fields: dict[str, Any] = field(default_factory=dict)  #: defaults of annotated class fields
    exported: dict[str, str] = field(default_factory=dict)  #: name in a package -> where it is from
    made: dict[str, str] = field(
        default_factory=dict
    )  #: variable -> dotted name of what was called
    #: Files of settings that the code names and that are there, seen from the project's folder.
    settings_files: set[str] = field(default_factory=set)
    busy: dict[str, int] = field(default_factory=dict)  #: modules that do work when imported: line
    unreadable: list[str] = field(default_factory=list)  #: one line a file

    def subclasses(self, *bases: str) -> list[Class]:
        """The classes that derive from one of ``bases``, also by way of each other."""
        known = set(bases)
        while True:
            found = [c for c in self.classes if known.intersection(c.bases)]
            if {c.target for c in found} <= known:
                return found
            known |= {c.target for c in found}

    def calls_of(self, target: str) -> list[Call]:
        return [call for call in self.calls if call.target == target]

    def value_of(self, node: ast.expr) -> Any:
        """The plain value of an expression: written out, a constant, or an option (``args.lr``)."""
        if (value := plain_value(node)) is not None:
            return value
        if isinstance(node, ast.Name):
            return self.constants.get(node.id)
        return self.named_value(node.attr) if isinstance(node, ast.Attribute) else None

    def named_value(self, name: str) -> Any:
        """What the project uses for a setting of this name: an option, a constant, a field."""
        for known in (self.options, self.constants, self.fields):
            for spelling in (name, name.upper()):
                if known.get(spelling) is not None:
                    return known[spelling]
        return None


def survey(project: Path) -> Survey:
    """Look at every Python file under ``project``."""
    root = import_root(project)
    seen = Survey(project=project, root=root)
    for file in python_files(project)[:_LIMIT]:
        _look_at(seen, file)
    _follow_reexports(seen)
    return seen


def _follow_reexports(seen: Survey) -> None:
    """Names that a package hands on (``from .registry import make`` in its ``__init__``) where they are."""

    def real(name: str) -> str:
        for _ in range(10):  # more is a circle
            name = seen.exported.get(name, name)
        return name

    def all_real(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(real, names))

    seen.calls = [replace(call, target=real(call.target)) for call in seen.calls]
    seen.classes = [replace(cls, bases=all_real(cls.bases)) for cls in seen.classes]
    seen.functions = [replace(f, gives=all_real(f.gives)) for f in seen.functions]
    seen.made = {variable: real(name) for variable, name in seen.made.items()}


def import_root(project: Path) -> Path:
    """``src`` where the project has that layout, else the project's folder."""
    src = project / "src"
    packaged = src.is_dir() and not (src / "__init__.py").exists()
    return src if packaged and any(src.rglob("*.py")) else project


def python_files(project: Path) -> list[Path]:
    """The project's own Python files, in a fixed order."""
    found: list[Path] = []
    for folder, folders, files in os.walk(project):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _foreign(here / name))
        found += [here / name for name in sorted(files) if _is_source(name)]
    return found


def _foreign(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _SKIPPED or (folder / "pyvenv.cfg").exists()


def _is_source(name: str) -> bool:
    ours = not name.startswith("test_") and not name.endswith("_test.py")
    return name.endswith(".py") and ours and name not in {"setup.py", "conftest.py"}


def module_name(file: Path, root: Path) -> str | None:
    """The dotted name under which ``file`` is imported; None when it cannot be."""
    if not file.is_relative_to(root):
        return None
    parts = list(file.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def _look_at(seen: Survey, file: Path) -> None:
    module = module_name(file, seen.root)
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None) or 1
        seen.unreadable.append(f"{file.relative_to(seen.project)}:{line}: {error}")
        return
    if module is None:
        return
    names = _Names(tree, module, is_package=file.name == "__init__.py")
    seen.imports |= names.imported
    if file.name == "__init__.py":
        seen.exported |= {f"{module}.{name}": dotted for name, dotted in names.known.items()}
    _collect_definitions(seen, tree, names, file)
    _collect_calls(seen, tree, names)
    _collect_values(seen, tree, module)
    _collect_files(seen, tree, file)


class _Names:
    """What the names at the top of one module stand for."""

    def __init__(self, tree: ast.Module, module: str, is_package: bool) -> None:
        self.module = module
        self._package = module if is_package else module.rpartition(".")[0]
        self.imported: set[str] = set()
        self.known: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._add(node)
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                self.known[node.name] = f"{module}.{node.name}"

    def _add(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
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


def _collect_definitions(seen: Survey, tree: ast.Module, names: _Names, file: Path) -> None:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            seen.functions.append(_function(node, names, file))
        elif isinstance(node, ast.ClassDef):
            seen.classes.append(_class(node, names, file))
            seen.fields |= _plain_fields(node)


def _function(node: ast.FunctionDef, names: _Names, file: Path) -> Function:
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


def _class(node: ast.ClassDef, names: _Names, file: Path) -> Class:
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return Class(
        module=names.module,
        name=node.name,
        bases=tuple(filter(None, (names.dotted(base) for base in node.bases))),
        parameters=_parameters(inits[0], names)[1:] if inits else _field_parameters(node, names),
        line=node.lineno,
        file=file,
        fields=_plain_fields(node),
    )


def _field_parameters(node: ast.ClassDef, names: _Names) -> tuple[Parameter, ...]:
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


def _parameters(node: ast.FunctionDef, names: _Names) -> tuple[Parameter, ...]:
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    pairs = [*zip(positional, [*missing, *args.defaults], strict=True)]
    pairs += zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return tuple(
        Parameter(arg.arg, names.dotted(arg.annotation), default is None, plain_value(default))
        for arg, default in pairs
    )


def _gives(node: ast.FunctionDef, names: _Names) -> Iterator[str]:
    """What is returned: names of the calls in ``return f(...)``, also by way of a variable."""
    made: dict[str, str] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Call):
            for target in inner.targets:
                if isinstance(target, ast.Name):
                    made.setdefault(target.id, names.dotted(inner.value.func))
    for inner in ast.walk(node):
        if not isinstance(inner, ast.Return):
            continue
        if isinstance(inner.value, ast.Call):
            yield names.dotted(inner.value.func)
        elif isinstance(inner.value, ast.Name):
            yield made.get(inner.value.id, "")


def _collect_calls(seen: Survey, tree: ast.Module, names: _Names) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            variables = [target.id for target in node.targets if isinstance(target, ast.Name)]
            seen.made |= dict.fromkeys(variables, names.dotted(node.value.func))
    for top in tree.body:
        scope = getattr(top, "name", "")
        for node in ast.walk(top):
            if isinstance(node, ast.Call):
                kwargs = {k.arg: k.value for k in node.keywords if k.arg}
                target = names.dotted(node.func)
                seen.calls.append(Call(target, tuple(node.args), kwargs, scope, names.module))
                if target.endswith(".add_argument"):
                    seen.options |= _option(node.args, kwargs)


def _option(args: list[ast.expr], kwargs: Mapping[str, ast.expr]) -> dict[str, Any]:
    flags = [a.value for a in args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if not flags:
        return {}
    long = next((flag for flag in flags if flag.startswith("--")), flags[0])
    name = plain_value(kwargs.get("dest")) or long.lstrip("-").replace("-", "_")
    if plain_value(kwargs.get("action")) in {"store_true", "store_false"}:
        return {name: plain_value(kwargs.get("action")) == "store_false"}
    return {name: plain_value(kwargs.get("default"))}


def _collect_values(seen: Survey, tree: ast.Module, module: str) -> None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], plain_value(node.value)
            if isinstance(target, ast.Name) and value is not None:
                seen.constants[target.id] = value
        if _does_work(node):
            seen.busy.setdefault(module, node.lineno)


def _collect_files(seen: Survey, tree: ast.Module, file: Path) -> None:
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    for text in sorted(t for t in texts if isinstance(t, str) and t.endswith(_SETTINGS_FILES)):
        for folder in (seen.project, file.parent):
            path = (folder / text).resolve()
            if path.is_file() and path.is_relative_to(seen.project):
                seen.settings_files.add(path.relative_to(seen.project).as_posix())


def _does_work(node: ast.stmt) -> bool:
    """Whether a statement at the top of a module looks like training rather than defining."""
    if isinstance(node, ast.For | ast.While):
        return True
    called = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if not isinstance(called, ast.Call):
        return False
    name = called.func.attr if isinstance(called.func, ast.Attribute) else ""
    name = called.func.id if isinstance(called.func, ast.Name) else name
    return name in {"fit", "train", "main", "parse_args", "backward"}


def _plain_fields(node: ast.ClassDef) -> dict[str, Any]:
    return {
        item.target.id: plain_value(item.value)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and plain_value(item.value) is not None
    }


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
    plain = all(isinstance(item, _PLAIN) for item in items)
    return (list(value) if isinstance(value, tuple) else value) if plain else None


_SETTINGS_FILES = (".yaml", ".yml", ".toml", ".ini", ".cfg")
_PLAIN = (bool, int, float, str)


def _is_plain_dict(value: dict[Any, Any]) -> bool:
    """Whether it could be a table of a config file."""
    return all(
        isinstance(key, str)
        and (isinstance(item, _PLAIN) or (isinstance(item, dict) and _is_plain_dict(item)))
        for key, item in value.items()
    )
