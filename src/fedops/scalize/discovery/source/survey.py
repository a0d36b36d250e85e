"""A static look at somebody's project: what it imports, defines and calls. It never runs a line of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fedops.scalize.discovery.source.bindings import (
    bound_in,
    bound_in_class,
    changes_in,
    declared_global,
    is_static,
    signature_of,
)
from fedops.scalize.discovery.source.definitions import (
    Call,
    Class,
    Function,
    Names,
    class_of,
    function_of,
    plain_fields,
)
from fedops.scalize.discovery.source.files_read import Source, follow_stars
from fedops.scalize.discovery.source.options import UNKNOWN, argparse_option, click_options
from fedops.scalize.discovery.source.own_settings import settings_of
from fedops.scalize.discovery.source.source_files import (
    LIMIT,
    import_root,
    module_name,
    python_files,
)
from fedops.scalize.discovery.source.values import Values


@dataclass
class Survey(Values):
    """What was seen in a project."""

    project: Path = Path()
    root: Path = Path()  #: the folder its imports start from
    imports: set[str] = field(default_factory=set)  #: dotted names, all modules together
    functions: list[Function] = field(default_factory=list)
    made: dict[str, str] = field(
        default_factory=dict
    )  #: variable -> dotted name of what was called
    #: Files of settings that the code names and that are there, seen from the project's folder.
    settings_files: set[str] = field(default_factory=set)
    busy: dict[str, int] = field(default_factory=dict)  #: modules that do work when imported: line
    unreadable: list[str] = field(default_factory=list)  #: one line a file
    #: Every file that could be read, also those whose names cannot be imported.
    sources: list[Source] = field(default_factory=list)

    def subclasses(self, *bases: str) -> list[Class]:
        """The classes that derive from one of ``bases``, also by way of each other."""
        known = set(bases)
        while True:
            found = [c for c in self.classes if known.intersection(c.bases)]
            if {c.target for c in found} <= known:
                return found
            known |= {c.target for c in found}


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
    seen.kept = {}
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
    _collect_names(seen, tree, names)
    _collect_definitions(seen, tree, names, file)
    _collect_calls(seen, tree, names)
    if (line := next(_busy_lines(tree), None)) is not None:
        seen.busy[names.module] = line
    _collect_files(seen, tree, file)


def _collect_names(seen: Survey, tree: ast.Module, names: Names) -> None:
    """What every name is given, and what is changed later."""
    module = names.module
    seen.names[module] = names
    top = bound_in(tree.body)
    seen.bound[module, ""] = top | {name: [None] for name in declared_global(tree)}
    seen.changes[module] = list(changes_in(tree))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            seen.bound[module, node.name] = bound_in(node.body)
            seen.signatures[module, node.name] = signature_of(node)
        elif isinstance(node, ast.ClassDef):
            seen.bound[module, node.name] = bound_in_class(node)
            methods = (item for item in node.body if isinstance(item, ast.FunctionDef))
            seen.signatures |= {
                (module, f"{node.name}.{m.name}"): signature_of(m, without_first=not is_static(m))
                for m in methods
            }


def _collect_definitions(seen: Survey, tree: ast.Module, names: Names, file: Path) -> None:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            seen.functions.append(function_of(node, names, file))
            if options := click_options(node, names):
                seen.commands[names.module, node.name] = options
        elif isinstance(node, ast.ClassDef):
            seen.classes.append(class_of(node, names, file))
            seen.class_fields[f"{names.module}.{node.name}"] = plain_fields(node)


def _collect_calls(seen: Survey, tree: ast.Module, names: Names) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            variables = [target.id for target in node.targets if isinstance(target, ast.Name)]
            seen.made |= dict.fromkeys(variables, names.dotted(node.value.func))
    for top in tree.body:
        scope = getattr(top, "name", "")
        for node in ast.walk(top):
            if isinstance(node, ast.Call):
                _collect_call(seen, node, names, scope)


def _collect_call(seen: Survey, node: ast.Call, names: Names, scope: str) -> None:
    kwargs = {k.arg: k.value for k in node.keywords if k.arg}
    spread = tuple(k.value for k in node.keywords if not k.arg)
    target, module = names.dotted(node.func), names.module
    args = tuple(node.args)
    seen.calls.append(Call(target, args, kwargs, scope, module, node.lineno, spread))
    if isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
        options = seen.argparse.setdefault(module, {})
        read = partial(seen.value_of, at=(module, scope))
        for name, option in argparse_option(node.args, kwargs, read).items():
            same = options.setdefault(name, option) == option  # two commands may differ in it
            options[name] = option if same else UNKNOWN


def _busy_lines(tree: ast.Module) -> Iterator[int]:
    return (line for node in tree.body if (line := _works_at(node)) is not None)


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
