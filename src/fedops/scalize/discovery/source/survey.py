"""A static look at somebody's project: what it imports, defines and calls. It never runs a line of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedops.scalize.discovery.source.definitions import (
    Call,
    Class,
    Function,
    Names,
    class_of,
    function_of,
    plain_fields,
    plain_value,
)
from fedops.scalize.discovery.source.files_read import Source, follow_stars
from fedops.scalize.discovery.source.options import (
    argparse_option,
    click_options,
    local_values,
)
from fedops.scalize.discovery.source.own_settings import OwnSettings, chain, part_of, settings_of
from fedops.scalize.discovery.source.source_files import (
    LIMIT,
    import_root,
    module_name,
    python_files,
)


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
    click_options: dict[str, Any] = field(default_factory=dict)  #: click and typer: name -> default
    own: OwnSettings = field(default_factory=OwnSettings)  #: settings beside the code
    #: (module, function) -> what it gives its names, once, and its parameters' defaults.
    local_values: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
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
    #: Every file that could be read, also those whose names cannot be imported.
    sources: list[Source] = field(default_factory=list)
    _by_target: dict[str, list[Call]] = field(default_factory=dict, repr=False)
    _indexed: int = 0  #: how many of the calls are in ``_by_target``

    def subclasses(self, *bases: str) -> list[Class]:
        """The classes that derive from one of ``bases``, also by way of each other."""
        known = set(bases)
        while True:
            found = [c for c in self.classes if known.intersection(c.bases)]
            if {c.target for c in found} <= known:
                return found
            known |= {c.target for c in found}

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

    def value_of(self, node: ast.expr, call: Call | None = None) -> Any:
        """The plain value of an expression: written out, a constant, an option, a setting of a file.

        ``call``: where it stands, for the names that its function gives a value.
        """
        if (value := plain_value(node)) is not None:
            return value
        name, path = chain(node)
        if not path:
            local = self.local_values.get((call.module, call.scope), {}) if call else {}
            known = (local, self.constants, self.click_options)
            return next((values[name] for values in known if name in values), None)
        if (value := part_of(self.constants.get(name), path)) is not None:
            return value
        if (value := self.own.said_in(node)) is not None:
            return value
        return self.named_value(path[-1]) if isinstance(node, ast.Attribute) else None

    def named_value(self, name: str) -> Any:
        """What the project uses for a setting of this name: an option, a constant, a field, of a file."""
        for known in (self.options, self.click_options, self.constants, self.fields):
            for spelling in (name, name.upper()):
                if known.get(spelling) is not None:
                    return known[spelling]
        return self.own.value((name,))


def analyse_project(project: Path) -> Survey:
    """Look at every Python file under ``project``."""
    root = import_root(project)
    seen = Survey(project=project, root=root)
    files = [read for file in python_files(project)[:LIMIT] if (read := _read(seen, file))]
    follow_stars([source.names for source in seen.sources])
    for source, file in files:
        _look_at(seen, source, file)
    seen.own = settings_of(project, seen.sources, seen.settings_files, seen.value_of)
    seen.settings_files |= seen.own.files
    _follow_reexports(seen)
    return seen


def _follow_reexports(seen: Survey) -> None:
    """Names that a package hands on (``from .registry import make`` in its ``__init__``) where they are."""
    real = seen.real_name

    def all_real(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(real, names))

    seen.calls = [replace(call, target=real(call.target)) for call in seen.calls]
    seen._indexed = 0
    seen.classes = [replace(cls, bases=all_real(cls.bases)) for cls in seen.classes]
    seen.functions = [replace(f, gives=all_real(f.gives)) for f in seen.functions]
    seen.made = {variable: real(name) for variable, name in seen.made.items()}


def _read(seen: Survey, file: Path) -> tuple[Source, Path] | None:
    """A file's syntax; None, and a line in ``unreadable``, where it has none."""
    path = file.relative_to(seen.project).as_posix()
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        seen.unreadable.append(f"{path}:{getattr(error, 'lineno', None) or 1}: {error}")
        return None
    module = module_name(file, seen.root)
    names = Names(tree, module or path, is_package=file.name == "__init__.py")
    source = Source(path, tree, names)
    seen.sources.append(source)
    return (source, file) if module else None


def _look_at(seen: Survey, source: Source, file: Path) -> None:
    tree, names = source.tree, source.names
    seen.imports |= names.imported
    if file.name == "__init__.py":
        seen.exported |= {f"{names.module}.{name}": dotted for name, dotted in names.known.items()}
    _collect_definitions(seen, tree, names, file)
    _collect_calls(seen, tree, names)
    _collect_values(seen, tree, names.module)
    _collect_files(seen, tree, file)


def _collect_definitions(seen: Survey, tree: ast.Module, names: Names, file: Path) -> None:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            seen.functions.append(function_of(node, names, file))
            seen.local_values[names.module, node.name] = local_values(node)
            seen.click_options |= click_options(node, names)
        elif isinstance(node, ast.ClassDef):
            seen.classes.append(class_of(node, names, file))
            seen.fields |= plain_fields(node)


def _collect_calls(seen: Survey, tree: ast.Module, names: Names) -> None:
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
                    seen.options |= argparse_option(node.args, kwargs)


def _collect_values(seen: Survey, tree: ast.Module, module: str) -> None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], plain_value(node.value)
            if isinstance(target, ast.Name) and value is not None:
                seen.constants[target.id] = value
        if (line := _works_at(node)) is not None:
            seen.busy.setdefault(module, line)


def _collect_files(seen: Survey, tree: ast.Module, file: Path) -> None:
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    for text in sorted(t for t in texts if isinstance(t, str) and t.endswith(_SETTINGS_FILES)):
        for folder in (seen.project, file.parent):
            path = (folder / text).resolve()
            if path.is_file() and path.is_relative_to(seen.project):
                seen.settings_files.add(path.relative_to(seen.project).as_posix())


def _works_at(node: ast.stmt) -> int | None:
    """The line at which a statement at the top of a module trains rather than defines, if it does."""
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
        return None
    if isinstance(node, ast.Try | ast.With | ast.If):
        lines = (_works_at(inner) for inner in node.body)
        return next((line for line in lines if line is not None), None)
    return node.lineno if _does_work(node) else None


def _does_work(node: ast.stmt) -> bool:
    if isinstance(node, ast.For | ast.While):
        return True
    called = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if not isinstance(called, ast.Call):
        return False
    name = called.func.attr if isinstance(called.func, ast.Attribute) else ""
    name = called.func.id if isinstance(called.func, ast.Name) else name
    return name in {"fit", "train", "main", "parse_args", "backward"}


_SETTINGS_FILES = (".yaml", ".yml", ".toml", ".ini", ".cfg")
