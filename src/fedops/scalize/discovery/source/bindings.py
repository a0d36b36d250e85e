"""What the names of a piece of code are given, and what is changed of settings after they were read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedops.scalize.discovery.source.definitions import plain_value

#: Name -> what it is given; None: something that cannot be read off, as by a loop.
Bound = dict[str, list[ast.expr | None]]
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def bound_in(body: Iterable[ast.stmt]) -> Bound:
    """What the statements of a function, or of a module's top, give their names."""
    found: Bound = {}
    for node in _nodes(body):
        for name, value in _bound_by(node):
            found.setdefault(name, []).append(value)
    return found


def bound_in_class(node: ast.ClassDef) -> Bound:
    """All methods together: a name that two of them give different values is known in none."""
    found: Bound = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            for name, values in bound_in(inner.body).items():
                found.setdefault(name, []).extend(values)
            for name in signature_of(inner):
                found.setdefault(name, []).append(None)
    return found


def declared_global(tree: ast.Module) -> set[str]:
    """Names of a module that one of its functions changes."""
    return {name for n in ast.walk(tree) if isinstance(n, ast.Global) for name in n.names}


def signature_of(
    node: ast.FunctionDef | ast.AsyncFunctionDef, without_first: bool = False
) -> dict[str, ast.expr | None]:
    """The parameters, and their defaults. ``without_first``: of a method, without ``self``."""
    args = node.args
    positional = [arg.arg for arg in [*args.posonlyargs, *args.args]]
    found: dict[str, ast.expr | None] = dict.fromkeys(positional)
    if args.defaults:
        found |= zip(positional[-len(args.defaults) :], args.defaults, strict=True)
    found |= zip((arg.arg for arg in args.kwonlyargs), args.kw_defaults, strict=True)
    if without_first and positional:
        del found[positional[0]]
    return found


def is_static(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)


def _nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Everything that belongs to the same scope."""
    for node in body:
        yield node
        if not isinstance(node, _SCOPES):
            yield from _nodes(ast.iter_child_nodes(node))


def _bound_by(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _pairs(target, value)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield from _pairs(target, value)
        case ast.NamedExpr(target=target, value=value):
            yield from _pairs(target, value)
        case ast.AugAssign(target=target) | ast.For(target=target) | ast.AsyncFor(target=target):
            yield from _pairs(target, None)
        case ast.withitem(optional_vars=ast.expr() as target):
            yield from _pairs(target, None)


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    """``a, b = 1, 2`` gives two."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Starred):
        yield from _pairs(target.value, None)
    elif isinstance(target, ast.Tuple | ast.List):
        given = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        stars = any(isinstance(item, ast.Starred) for item in [*target.elts, *given])
        fits = len(given) == len(target.elts) and not stars
        for index, inner in enumerate(target.elts):
            yield from _pairs(inner, given[index] if fits else None)


# --- settings that are changed ---------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """``args.hidden = 64``, or a call that may change anything of ``args``."""

    root: str  #: the variable
    path: tuple[str, ...]  #: what of it; empty: nobody knows
    value: ast.expr | None  #: None: it cannot be read off
    line: int


#: Methods after which a table of settings is another.
_CHANGE = {"update", "setdefault", "pop", "popitem", "clear"}
_CHANGE |= {"merge_with", "merge_with_dotlist", "merge_with_cli", "merge_from_file"}
_CHANGE |= {"merge_from_list", "merge_from_other_cfg", "set_defaults"}


def changes_in(tree: ast.Module) -> Iterator[Change]:
    """What a module changes of the objects that its variables hold. ``self`` is not looked at."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
            alone = isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (
                node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            ):
                root, path = _place(target)
                if path and root not in ("", "self"):
                    value = node.value if alone and not isinstance(node, ast.Delete) else None
                    yield Change(root, tuple(path), value, node.lineno)
        elif isinstance(node, ast.Call):
            yield from _changed_by(node)


def _changed_by(call: ast.Call) -> Iterator[Change]:
    function, line = call.func, call.lineno
    if isinstance(function, ast.Name) and function.id == "setattr" and len(call.args) == 3:
        root, path = _place(call.args[0])
        name = plain_value(call.args[1])
        yield Change(root, (*path, name) if isinstance(name, str) else (), call.args[2], line)
    elif isinstance(function, ast.Attribute) and function.attr in _CHANGE:
        of = function.value
        if isinstance(of, ast.Call) and ast.unparse(of.func) == "vars" and of.args:
            of = of.args[0]
        root, path = _place(of)
        path = [part for part in path if part != "__dict__"]
        if root == "OmegaConf":
            root, path = _place(call.args[0]) if call.args else ("", [])
        given = [(k.arg, k.value) for k in call.keywords if k.arg]
        named = len(given) == len(call.keywords) and not call.args
        if root and given and named and function.attr in ("update", "set_defaults"):
            yield from (Change(root, (*path, name), value, line) for name, value in given)
            return
        if root:
            yield Change(root, tuple(path), None, line)


def _place(node: ast.expr) -> tuple[str, list[str]]:
    """``cfg.train["lr"]`` -> ``"cfg", ["train", "lr"]``; a key that is no text ends the path."""
    path: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            path.append(node.attr)
        elif isinstance(node, ast.Subscript):
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            path = [*path, key] if isinstance(key, str) else []
        else:
            return "", []
        node = node.value
    return node.id, path[::-1]
